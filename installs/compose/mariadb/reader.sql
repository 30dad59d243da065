-- Runs at each start after mariadb-init.sql: the account for people, who read in phpMyAdmin and change nothing.
CREATE USER IF NOT EXISTS 'reader'@'%';
ALTER USER 'reader'@'%' IDENTIFIED BY '$reader_password';
GRANT SELECT, SHOW VIEW ON `$database`.* TO 'reader'@'%';
