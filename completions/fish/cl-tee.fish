complete -c cl-tee -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-tee -l output-error -d 'What to do when a sink fails' -r -f -a "warn\t'Tell and go on'
warn-nopipe\t'The same, but a reader that went away is no error'
exit\t'Tell and end'
exit-nopipe\t'The same, but a reader that went away is no error'"
complete -c cl-tee -l on-full -d 'What to do when a SINK\'s reader is a whole --buffer behind: spill, block, drop or close' -r -f -a "spill\t'Go on on disk'
block\t'Wait for it'
drop\t'Leave out whole lines'
close\t'Give it up'"
complete -c cl-tee -l buffer -d 'How far a reader may be behind before something is done about it (at least 4K)' -r
complete -c cl-tee -l spill -d 'The most disk that one reader may cost' -r
complete -c cl-tee -l split -d 'Write a run folder: one file a stream, DIR/STREAM.ndjson' -r -F
complete -c cl-tee -l rotate -d 'Begin a new file before a line that would make it larger than SIZE; of the old ones keep KEEP' -r
complete -c cl-tee -s a -l append -d 'Append to the files instead of overwriting them'
complete -c cl-tee -s i -l ignore-interrupts -d 'Ignore the interrupt signal (Ctrl-C)'
complete -c cl-tee -s p -d 'Go on when a reader goes away, stdout\'s included; the same as --output-error=warn-nopipe'
complete -c cl-tee -l sync -d 'Bring files to the disk (fdatasync) at each exit event and at the end'
complete -c cl-tee -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-tee -s V -l version -d 'Print version'
