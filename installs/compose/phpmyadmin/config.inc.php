<?php
// phpMyAdmin's whole configuration; the image's own, made of environment variables, is not used.
$cfg['blowfish_secret'] = getenv('PHPMYADMIN_SECRET');  // 32 characters, for the login cookie
$cfg['Servers'][1] = [
    'verbose' => 'Mare Data',
    'host' => getenv('MARE_MARIADB__HOST'),
    'port' => getenv('MARE_MARIADB__PORT'),
    'auth_type' => 'cookie',
    'AllowNoPassword' => false,
    'hide_db' => '^(information_schema|performance_schema|mysql|sys)$',
];
$cfg['TempDir'] = '/tmp';
$cfg['VersionCheck'] = false;  // it would ask a host in the internet
$cfg['SendErrorReports'] = 'never';
$cfg['AllowArbitraryServer'] = false;
