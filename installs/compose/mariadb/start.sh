#!/bin/bash
# Makes the system tables once, and runs MariaDB with the mounted files. Accounts and their passwords are set by an
# init file at each start, so that a changed .env and `docker compose up -d` change them. There is no root password:
# `docker compose exec --user root maria mariadb` needs none.
# The image's own entry point, which makes accounts of environment variables once, is not used.
set -eu
data=/var/lib/mysql

if [ ! -e "$data/mysql" ] || [ -e "$data/.installing" ]; then
    # A mark, since an installation that was killed half-way leaves folders behind.
    find "$data" -mindepth 1 -delete
    touch "$data/.installing"
    mariadb-install-db --no-defaults --skip-test-db --datadir="$data" \
        --auth-root-authentication-method=socket --auth-root-socket-user=root >/dev/null
    rm "$data/.installing"
fi

quoted() {
    local text=${1//\\/\\\\}
    printf '%s' "${text//\'/\\\'}"
}

umask 077
sql=$(cat /etc/mare-init/mariadb-init.sql /etc/mare/reader.sql)
sql=${sql//'$database'/"$MARE_MARIADB__DATABASE"}
sql=${sql//'$user'/"$(quoted "$MARE_MARIADB__USER")"}
sql=${sql//'$password'/"$(quoted "$MARE_MARIADB__PASSWORD")"}
sql=${sql//'$reader_password'/"$(quoted "$MARIADB_READER_PASSWORD")"}
printf '%s\n' "$sql" > /run/mysqld/init.sql
unset MARE_MARIADB__PASSWORD MARIADB_READER_PASSWORD
exec mariadbd --defaults-file=/etc/mare/mariadb.cnf
