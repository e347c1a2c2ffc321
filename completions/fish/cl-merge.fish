complete -c cl-merge -l order -d 'In which order lines are written: arrival (as they come) or time (by their header\'s time)' -r -f -a "arrival\t'As they come'
time\t'By their header\'s time'"
complete -c cl-merge -l window -d 'How long a line waits for earlier ones with --order time' -r
complete -c cl-merge -l only -d 'Only streams of this name; may be given several times' -r
complete -c cl-merge -l not -d 'No streams of this name; may be given several times, and wins over --only' -r
complete -c cl-merge -s o -l output -d 'What to write: ndjson, text, raw or seq' -r -f -a "ndjson\t'The stream'
text\t'For people'
raw\t'The workers\' bytes'
seq\t'RFC 7464'"
complete -c cl-merge -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-merge -s f -l follow -d 'Keep reading files that grow and FIFOs whose writers come and go'
complete -c cl-merge -l mkfifo -d 'Make the FIFOs that do not exist, and remove them at the end'
complete -c cl-merge -l verbose -d 'Also write join and leave events when a source appears or ends'
complete -c cl-merge -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-merge -s V -l version -d 'Print version'
