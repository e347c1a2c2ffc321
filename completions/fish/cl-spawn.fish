complete -c cl-spawn -l agent -d 'How to start the worker and how to read its lines' -r
complete -c cl-spawn -l role -d 'Another role than NAME; auto chooses a crew role by the words of the prompt' -r
complete -c cl-spawn -l config -d 'A further file of roles, read after the others' -r -F
complete -c cl-spawn -l run -d 'The run folder from which a role\'s frame takes the answers of other streams' -r -F
complete -c cl-spawn -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-spawn -l tools -d 'The tools that the agent may use without asking, as a comma list; an empty list is none' -r
complete -c cl-spawn -l system -d 'What to add to the agent\'s system prompt' -r
complete -c cl-spawn -l session -d 'Begin the conversation under this id; claude, gemini and qwen take one, a UUID' -r
complete -c cl-spawn -l resume -d 'Go on with an earlier conversation: its id, or the run folder in which NAME\'s stream tells it' -r
complete -c cl-spawn -l arg -d 'A further argument for the agent, as it is; repeatable' -r
complete -c cl-spawn -s C -l cwd -d 'Where the worker runs' -r -F
complete -c cl-spawn -l env -d 'A variable for the worker\'s environment; repeatable' -r
complete -c cl-spawn -s r -l retries -d 'How many further attempts there may be, where one can help' -r
complete -c cl-spawn -l backoff -d 'How long to wait before the first further attempt; twice as long before each that follows, at most 5m (1s)' -r
complete -c cl-spawn -l fallback -d 'Another agent, or agent:model, to ask once the attempts are used up; repeatable' -r
complete -c cl-spawn -s t -l timeout -d 'How long the whole run may take; 0 is for ever (the default, unless the role says more)' -r
complete -c cl-spawn -s k -l kill-after -d 'How long to wait between two steps when stopping a worker' -r
complete -c cl-spawn -l idle -d 'How long the worker may show no sign of life; 0 is for ever (for agents 10m)' -r
complete -c cl-spawn -l linger -d 'How long an agent may live on after its last result with nothing pending; 0 is for ever (for agents 10s)' -r
complete -c cl-spawn -l stdin -d 'The worker\'s stdin: null, pty (a terminal that says nothing), inherit, or a file' -r
complete -c cl-spawn -l capture -d 'How stdout is taken: auto, file, pipe or pty' -r -f -a "auto\t'As suits the worker'
file\t'Into an unlinked file'
pipe\t'Through a pipe'
pty\t'Through a terminal'"
complete -c cl-spawn -l max-line -d 'The length of line from which on it travels in pieces' -r
complete -c cl-spawn -l stderr -d 'Where the worker\'s stderr goes: event (into the stream), pass (to our stderr) or drop' -r -f -a "event\t'Into the stream'
pass\t'To our stderr'
drop\t'Nowhere'"
complete -c cl-spawn -l heartbeat -d 'After how long a silence to say so in the stream; 0 is never' -r
complete -c cl-spawn -s n -l nice -d 'The niceness of the worker and all it starts (by the role\'s priority 0, 5, 10 or 15, else 0)' -r
complete -c cl-spawn -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-spawn -l serve -d 'Start workers as they are asked for on the socket that is stdin, for cl-run'
complete -c cl-spawn -l roles -d 'List the roles in force and where each comes from, and do nothing else'
complete -c cl-spawn -l partial -d 'Ask for the answer token by token'
complete -c cl-spawn -l fork -d 'Go on with a copy of the conversation to resume, and leave that as it is'
complete -c cl-spawn -l keep -d 'Keep the agent for one prompt after another: a line each, from --stdin FILE or our stdin'
complete -c cl-spawn -l anyway -d 'Start even where another stream has met a usage limit or had its key refused a short while ago'
complete -c cl-spawn -l dry-run -d 'Print the environment and the command that would be run, and nothing else'
complete -c cl-spawn -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-spawn -s V -l version -d 'Print version'
