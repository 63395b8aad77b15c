# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ottla_global_optspecs
    string join \n V/version h/help
end

function __fish_ottla_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ottla_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ottla_using_subcommand
    set -l cmd (__fish_ottla_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ottla -n "__fish_ottla_needs_command" -s V -l version -d 'Print the version, the commit, and the level of Apache Kafka'
complete -c ottla -n "__fish_ottla_needs_command" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "server" -d 'Start a node'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "up" -d 'Start a cluster of several nodes on this machine, for trying it'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "produce" -d 'Write the lines of the standard input to a topic'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "consume" -d 'Print the records of a topic'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "topics" -d 'List, describe, create, change and delete topics'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "groups" -d 'List consumer groups and how far they are behind; reset and delete them'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "cluster" -d 'Print the nodes, their part in the quorum and their disks; move replicas between them'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "txn" -d 'List transactions, and abort one that hangs'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "bench" -d 'Measure how fast the cluster writes, reads and answers'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "demo" -d 'Play an example on a running cluster'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "size" -d 'Work out partitions, brokers and disks'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "config" -d 'Explain, show and change settings'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "doctor" -d 'Look for problems in a running cluster or in a data directory'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "dump" -d 'Show what is in log, index, snapshot and checkpoint files'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "format" -d 'Prepare data directories for a cluster of your choice'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "quorum" -d 'Back up the metadata, and recover it when most controllers are gone for good'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "install-tools" -d 'Make a folder with every kafka-* command, for scripts'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "version" -d 'Print the version, the commit, and the level of Apache Kafka'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "completions" -d 'Print the completion script for a shell'
complete -c ottla -n "__fish_ottla_needs_command" -f -a "man" -d 'Write a page of the manual for each command'
complete -c ottla -n "__fish_ottla_using_subcommand server" -l override -d 'A setting that counts more than the file\'s and the environment\'s' -r
complete -c ottla -n "__fish_ottla_using_subcommand server" -l node -d 'Which node of --cluster this one is: 1, 2, 3 by its place there, or its id if the list has ids. The same as the setting node.id' -r
complete -c ottla -n "__fish_ottla_using_subcommand server" -l cluster -d 'The nodes of a new cluster, the same list on each: their addresses for clients, such as a:9092,b:9092,c:9092. They need no format step. The same as the setting ottla.cluster' -r
complete -c ottla -n "__fish_ottla_using_subcommand server" -l ready-file -d 'A file that is there as long as the node serves: a line NAME://host:port for each listener' -r -F
complete -c ottla -n "__fish_ottla_using_subcommand server" -l log-format -d 'How logs are written, to the standard error' -r -f -a "text\t'For reading'
json\t'One object a line'"
complete -c ottla -n "__fish_ottla_using_subcommand server" -l env -d 'Take settings from the environment, too, as Apache\'s container image does: KAFKA_NODE_ID is node.id, two underscores are one, three are a hyphen'
complete -c ottla -n "__fish_ottla_using_subcommand server" -l format-if-empty -d 'Format the data directories if all of them are empty; without it, only the built-in default directory is formatted by a start'
complete -c ottla -n "__fish_ottla_using_subcommand server" -l print-config -d 'Print every setting with the value that the node would start with, and end'
complete -c ottla -n "__fish_ottla_using_subcommand server" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand up" -l data -d 'The folder for the nodes\' data, settings and logs (default: ./ottla-up-NODES)' -r -F
complete -c ottla -n "__fish_ottla_using_subcommand up" -l port -d 'The port of the first broker; the other brokers and then the controllers have the next ones (default: those the folder was made with, else 9092, else free ones; 0 is free ones)' -r
complete -c ottla -n "__fish_ottla_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s K -l key-separator -d 'The text between key and value in a line; every line must have it. Without it a line is a value' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -l key -d 'The key of all records' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -l null -d 'The text that stands for null, as key or as value: `-K : --null NULL` makes a tombstone of the line `ann:NULL`' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s H -l header -d 'A header of all records' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s p -l partition -d 'The partition of all records, instead of one for each key' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s z -l compression -d 'none, gzip, snappy, lz4 or zstd' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s X -d 'A setting of the producer, by Kafka\'s name' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand produce" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand produce" -l create -d 'Create the topic if it does not exist, with the cluster\'s defaults'
complete -c ottla -n "__fish_ottla_using_subcommand produce" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l from -d 'Start at this position: earliest, an offset, a time (2026-11-20T10:00:00Z) or how long ago (-2h)' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l last -d 'Start this number of records before the end of each partition' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l until -d 'End at this position, in the same forms as --from' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s p -l partition -d 'Only these partitions' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s g -l group -d 'Read as a member of this group, from its committed offsets' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s n -l max-messages -d 'End after this number of records' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l grep -d 'Only records whose value matches' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l key -d 'Only records whose key matches' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l header -d 'Only records with this header, and with a value that matches if one is given' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s K -l key-separator -d 'Print the key before the value, with this between them' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s X -d 'A setting of the consumer, by Kafka\'s name' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand consume" -l from-beginning -d 'Start at the first record instead of after the last'
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s e -l exit -d 'End at the last record that the topic had at the start'
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s v -l verbose -d 'Print time, place, key and headers, too'
complete -c ottla -n "__fish_ottla_using_subcommand consume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -f -a "list" -d 'Print the topics, with their partitions, replicas, records and bytes'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -f -a "describe" -d 'Print the partitions of a topic: leaders, in-sync replicas, offsets'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -f -a "create" -d 'Create a topic'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -f -a "alter" -d 'Give a topic more partitions, or other settings'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and not __fish_seen_subcommand_from list describe create alter delete" -f -a "delete" -d 'Delete topics with all their records'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from list" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from list" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from list" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from list" -l all -d 'Print Kafka\'s internal topics, too'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from describe" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from describe" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from describe" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from describe" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from describe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -s p -l partitions -d 'How many partitions (default: the cluster\'s num.partitions)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -s r -l replication-factor -d 'How many replicas (default: the cluster\'s default.replication.factor)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -s c -l config -d 'A setting of the topic' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from alter" -s p -l partitions -d 'How many partitions it is to have; they cannot become fewer' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from alter" -s c -l config -d 'A setting; an empty value takes it back to its default' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from alter" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from alter" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from alter" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from alter" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from alter" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from delete" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from delete" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from delete" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from delete" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand topics; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -f -a "list" -d 'Print the groups, their state, and by how many records each is behind'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -f -a "describe" -d 'Print the members of a group, and what each of them reads'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -f -a "lag" -d 'Print how far a group is behind in each partition: in records, and since when'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -f -a "reset" -d 'Change the committed offsets of a group, which must have no members meanwhile'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and not __fish_seen_subcommand_from list describe lag reset delete" -f -a "delete" -d 'Delete groups with their offsets; they must have no members'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from list" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from list" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from list" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from describe" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from describe" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from describe" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from describe" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from describe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from lag" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from lag" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from lag" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from lag" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from lag" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -s t -l topic -d 'The topic (default: all topics that the group has offsets of)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -l to -d 'The new position: earliest, latest, an offset, a time (2026-11-20T10:00:00Z), or -2h' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -l execute -d 'Commit the new offsets; without it, only print what would be done'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from delete" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from delete" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from delete" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from delete" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand groups; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -f -a "rebalance" -d 'Move replicas and leaders so that brokers are evenly loaded; without --execute print the plan'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -f -a "decommission" -d 'Move all replicas off a broker, so that it can be stopped for good; without --execute print the plan'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and not __fish_seen_subcommand_from rebalance decommission grow" -f -a "grow" -d 'Give internal topics, and others of your choice, more replicas; without --execute print the plan'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l throttle -d 'How many bytes per second each broker may copy for the moves: 50MB. The limit is removed when they have ended' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l at-once -d 'How many partitions move at a time' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l topics -d 'Move partitions of these topics only' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l exclude-broker -d 'Brokers that keep what they have and are given nothing' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l plan-file -d 'A plan as a file, in the form of kafka-reassign-partitions: read if it exists, else written' -r -F
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l plan -d 'Print the plan and change nothing: the default'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -l execute -d 'Carry the plan out: move the replicas, wait for them, elect the preferred leaders. Ctrl-C leaves moves that were begun to the cluster; the same command goes on from there'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from rebalance" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -l throttle -d 'How many bytes per second each broker may copy for the moves: 50MB. The limit is removed when they have ended' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -l at-once -d 'How many partitions move at a time' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -l plan -d 'Print the plan and change nothing: the default'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -l execute -d 'Carry the plan out: move the replicas, wait for them, elect the preferred leaders. Ctrl-C leaves moves that were begun to the cluster; the same command goes on from there'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -l unregister -d 'Take the broker out of the cluster; it must hold nothing and be stopped'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from decommission" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -l throttle -d 'How many bytes per second each broker may copy for the moves: 50MB. The limit is removed when they have ended' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -l at-once -d 'How many partitions move at a time' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -l topics -d 'Topics beside the internal ones' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -s r -l replication-factor -d 'How many replicas each partition is to have (default: 3, or as many as there are brokers); partitions that have more keep them' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -l plan -d 'Print the plan and change nothing: the default'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -l execute -d 'Carry the plan out: move the replicas, wait for them, elect the preferred leaders. Ctrl-C leaves moves that were begun to the cluster; the same command goes on from there'
complete -c ottla -n "__fish_ottla_using_subcommand cluster; and __fish_seen_subcommand_from grow" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand txn; and not __fish_seen_subcommand_from list abort" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and not __fish_seen_subcommand_from list abort" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and not __fish_seen_subcommand_from list abort" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand txn; and not __fish_seen_subcommand_from list abort" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and not __fish_seen_subcommand_from list abort" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand txn; and not __fish_seen_subcommand_from list abort" -f -a "list" -d 'Print the transactional ids, their state, since when, and their partitions'
complete -c ottla -n "__fish_ottla_using_subcommand txn; and not __fish_seen_subcommand_from list abort" -f -a "abort" -d 'Abort the open transaction of a transactional id; its producer is fenced'
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from list" -l open-for -d 'Only those that have been open for so many seconds' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from list" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from list" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from list" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from abort" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from abort" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from abort" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from abort" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand txn; and __fish_seen_subcommand_from abort" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand bench" -s n -l records -d 'How many records to write and read' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -s s -l size -d 'The size of each record, in bytes' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -s p -l partitions -d 'The number of partitions to write to' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -l latencies -d 'How many single records to time' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -s X -d 'A setting of the producer, by Kafka\'s name' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand bench" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand demo; and not __fish_seen_subcommand_from trucks" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand demo; and not __fish_seen_subcommand_from trucks" -f -a "trucks" -d 'Trucks send their positions, and a consumer group follows them: kill a broker, and watch'
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -l seconds -d 'End after so many seconds (default: at Ctrl-C)' -r
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -l rate -d 'How many positions are sent each second, by all trucks together' -r
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -l trucks -d 'How many trucks there are' -r
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -s p -l partitions -d 'With how many partitions the topic is created, if it does not exist' -r
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand demo; and __fish_seen_subcommand_from trucks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand size" -l throughput -d 'The write rate at the peak, per second: 20MB, 500KB' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l record -d 'How large a record is' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l consumers -d 'How many consumers the largest group has' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l consumer-rate -d 'How many records one consumer handles in a second; slower consumers need more partitions' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l groups -d 'How many groups read everything' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l retention -d 'How long records are kept' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l replicas -d 'How many copies there are of each record' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l latency -d 'The time in which a record must be acknowledged' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l per-partition -d 'How many bytes one partition takes in a second; measure yours with `ottla bench`' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l per-broker -d 'How many bytes one broker receives and sends in a second' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l disk -d 'How large a broker\'s disk is' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand size" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand size" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand config; and not __fish_seen_subcommand_from explain reference judge get set" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand config; and not __fish_seen_subcommand_from explain reference judge get set" -f -a "explain" -d 'Explain a setting: its type, its default, what is allowed, how it changes'
complete -c ottla -n "__fish_ottla_using_subcommand config; and not __fish_seen_subcommand_from explain reference judge get set" -f -a "reference" -d 'Print all settings as a page of Markdown'
complete -c ottla -n "__fish_ottla_using_subcommand config; and not __fish_seen_subcommand_from explain reference judge get set" -f -a "judge" -d 'Say of each line of the standard input, an object of names and values in JSON, whether a node would start with these settings, and how they count; for comparisons'
complete -c ottla -n "__fish_ottla_using_subcommand config; and not __fish_seen_subcommand_from explain reference judge get set" -f -a "get" -d 'Print the settings of a topic, a broker or a group of a running cluster'
complete -c ottla -n "__fish_ottla_using_subcommand config; and not __fish_seen_subcommand_from explain reference judge get set" -f -a "set" -d 'Change settings of a topic, a broker or a group of a running cluster'
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from reference" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from judge" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from get" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from get" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from get" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from get" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from get" -l all -d 'Print settings that have their default value, too'
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from set" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from set" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from set" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from set" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand config; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand doctor" -l offline -d 'Check this data directory, without changing it; no node may run on it meanwhile' -r -F
complete -c ottla -n "__fish_ottla_using_subcommand doctor" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand doctor" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand doctor" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand doctor" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand doctor" -l thorough -d 'With --offline: read every record of every log, not only what a start would read'
complete -c ottla -n "__fish_ottla_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l files -d 'The files, separated by commas' -r -F
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l max-bytes -d 'How many bytes of a log to read at most' -r
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l max-message-size -d 'The size of the largest message; taken for Kafka\'s sake' -r
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l deep-iteration -d 'Show the records of each batch'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l print-data-log -d 'Show the records\' keys and values too'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l skip-record-metadata -d 'Show batches and records, but of records only offset, time and sizes'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l verify-index-only -d 'Compare an index with its log, and show only where they differ'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l index-sanity-check -d 'Check that an index is in order, without showing it'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l offsets-decoder -d 'Records are those of __consumer_offsets'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l transaction-log-decoder -d 'Records are those of __transaction_state'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l share-group-state-decoder -d 'Records are those of __share_group_state'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -l cluster-metadata-decoder -d 'Records are those of __cluster_metadata'
complete -c ottla -n "__fish_ottla_using_subcommand dump" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand format" -l override -d 'A setting that counts more than the file\'s and the environment\'s' -r
complete -c ottla -n "__fish_ottla_using_subcommand format" -l declare-lost -d 'Declare a data directory lost, by its path or its directory id: its partitions start empty' -r
complete -c ottla -n "__fish_ottla_using_subcommand format" -s t -l cluster-id -d 'The cluster\'s id (default: a new one, for a node that begins a cluster)' -r
complete -c ottla -n "__fish_ottla_using_subcommand format" -s I -l initial-controllers -d 'Begin a quorum with these controllers; each of them must be formatted with the same list' -r
complete -c ottla -n "__fish_ottla_using_subcommand format" -s f -l feature -d 'A feature with which the new cluster begins at another level than the highest; may be repeated' -r
complete -c ottla -n "__fish_ottla_using_subcommand format" -s r -l release-version -d 'The release for which the new cluster writes its metadata, so that its controllers can run it: 4.0 to 4.3' -r
complete -c ottla -n "__fish_ottla_using_subcommand format" -s S -l add-scram -d 'A SCRAM credential with which the new cluster begins, such as \'SCRAM-SHA-256=[name=alice,password=alice-secret]\'; may be repeated' -r
complete -c ottla -n "__fish_ottla_using_subcommand format" -l env -d 'Take settings from the environment, too, as Apache\'s container image does: KAFKA_NODE_ID is node.id, two underscores are one, three are a hyphen'
complete -c ottla -n "__fish_ottla_using_subcommand format" -s g -l ignore-formatted -d 'Leave directories that are formatted already as they are'
complete -c ottla -n "__fish_ottla_using_subcommand format" -s s -l standalone -d 'Begin a quorum with this controller as its only voter; others join later'
complete -c ottla -n "__fish_ottla_using_subcommand format" -s N -l no-initial-controllers -d 'Join a quorum that is there, which controller.quorum.bootstrap.servers finds'
complete -c ottla -n "__fish_ottla_using_subcommand format" -l as-kafka-storage -d 'As kafka-storage: a controller must say who votes, and nothing else than its lines is printed'
complete -c ottla -n "__fish_ottla_using_subcommand format" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and not __fish_seen_subcommand_from recover backup" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and not __fish_seen_subcommand_from recover backup" -f -a "recover" -d 'Make the metadata of a surviving controller a new quorum in which it votes alone; without --execute, show what would be lost'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and not __fish_seen_subcommand_from recover backup" -f -a "backup" -d 'Copy the metadata of a node, which may run meanwhile, to a new directory'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from recover" -l override -d 'A setting that counts more than the file\'s and the environment\'s' -r
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from recover" -l backup -d 'Where the metadata is copied to before it is changed (default: beside the metadata directory, by its name and the time)' -r -F
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from recover" -l env -d 'Take settings from the environment, too, as Apache\'s container image does: KAFKA_NODE_ID is node.id, two underscores are one, three are a hyphen'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from recover" -l execute -d 'Do it; without this, nothing is changed'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from recover" -l cut-broken-tail -d 'If the log is broken, end it there; without this, a broken log is refused'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from backup" -l override -d 'A setting that counts more than the file\'s and the environment\'s' -r
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from backup" -l to -d 'The directory that the copy becomes; it must not be there' -r -F
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from backup" -l env -d 'Take settings from the environment, too, as Apache\'s container image does: KAFKA_NODE_ID is node.id, two underscores are one, three are a hyphen'
complete -c ottla -n "__fish_ottla_using_subcommand quorum; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand install-tools" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand version" -s b -l bootstrap-server -d 'Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else 127.0.0.1:9092; default port: 9092)' -r
complete -c ottla -n "__fish_ottla_using_subcommand version" -l profile -d 'The settings of ~/.config/ottla/NAME.properties (default: those of default.properties)' -r
complete -c ottla -n "__fish_ottla_using_subcommand version" -s o -l output -d 'How to print' -r -f -a "table\t'Columns with a header, for reading'
json\t'JSON, for programs'
plain\t'Columns divided by tabs, without a header, for scripts'"
complete -c ottla -n "__fish_ottla_using_subcommand version" -l watch -d 'Print again every so many seconds, until Ctrl-C' -r
complete -c ottla -n "__fish_ottla_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ottla -n "__fish_ottla_using_subcommand completions" -s h -l help -d 'Print help'
complete -c ottla -n "__fish_ottla_using_subcommand man" -s h -l help -d 'Print help'
