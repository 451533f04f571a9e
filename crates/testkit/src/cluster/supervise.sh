# Starts and stops the server in directory $1 with the programs in $2 as it is told on standard input, one word a line.
# The server starts with the variables of the file $1/environment, if there is one: NAME=VALUE, without spaces.
# When nobody is left to tell it anything, however the other side has ended, it removes everything.
directory=$1
programs=$2
while read -r word; do
    case $word in
        start)
            # shellcheck disable=SC2046
            env $(cat "$directory/environment" 2>/dev/null) \
                "$programs/pg_ctl" start --silent -w -D "$directory/data" -l "$directory/log" >"$directory/said" 2>&1
            ;;
        stop) "$programs/pg_ctl" stop --silent -w -m fast -D "$directory/data" >"$directory/said" 2>&1 ;;
        kill) "$programs/pg_ctl" stop --silent -w -m immediate -D "$directory/data" >"$directory/said" 2>&1 ;;
    esac
    echo $?
done
"$programs/pg_ctl" stop --silent -w -m immediate -D "$directory/data" >/dev/null 2>&1
rm -rf "$directory"
