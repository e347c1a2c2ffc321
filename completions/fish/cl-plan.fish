# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_cl_plan_global_optspecs
    string join \n color= h/help V/version
end

function __fish_cl_plan_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_cl_plan_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_cl_plan_using_subcommand
    set -l cmd (__fish_cl_plan_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c cl-plan -n "__fish_cl_plan_needs_command" -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-plan -n "__fish_cl_plan_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -s V -l version -d 'Print version'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "orchestra" -d 'Write the plan of an orchestra: four roles at once on one question'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "specialists" -d 'Write the plan of specialists: each does one kind of work on the same task'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "ensemble" -d 'Write the plan of an ensemble: one does the work, three others look at the task'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "progressive" -d 'Write the plan of a quick answer, a better one built on it, and the full one'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "chain" -d 'Write a plan in which each line of stdin is asked with the answer to the line before'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "batch" -d 'Write a plan in which N lines of stdin at a time are asked, with the answers of the N before'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "first" -d 'Write a plan in which a line of stdin is asked only when those before it failed'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "check" -d 'Find everything that is wrong with a plan'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "show" -d 'Show a plan: its levels, its critical path, how long it may take'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "script" -d 'Write a bash script of cl-spawn, cl-tee, cl-merge and cl-wait that runs a plan'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "import" -d 'Write the plan that an orchestration-config.json describes'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "status" -d 'Tell how far a run is: its streams by phase, their tasks, who waits for whom, what to do next'
complete -c cl-plan -n "__fish_cl_plan_needs_command" -f -a "todo" -d 'Write a plan or a run as a task list, in Markdown'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand orchestra" -l agent -d 'Who is asked, as cl-spawn --agent takes it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand orchestra" -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand orchestra" -s t -l timeout -d 'How long each stream may take' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand orchestra" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand orchestra" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand orchestra" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand specialists" -l agent -d 'Who is asked, as cl-spawn --agent takes it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand specialists" -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand specialists" -s t -l timeout -d 'How long each stream may take' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand specialists" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand specialists" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand specialists" -s h -l help -d 'Print help'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand ensemble" -l agent -d 'Who is asked, as cl-spawn --agent takes it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand ensemble" -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand ensemble" -s t -l timeout -d 'How long each stream may take' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand ensemble" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand ensemble" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand ensemble" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand progressive" -l agent -d 'Who is asked, as cl-spawn --agent takes it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand progressive" -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand progressive" -s t -l timeout -d 'How long each stream may take' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand progressive" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand progressive" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand progressive" -s h -l help -d 'Print help'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand chain" -l agent -d 'Who is asked, as cl-spawn --agent takes it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand chain" -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand chain" -s t -l timeout -d 'How long each stream may take' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand chain" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand chain" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand chain" -s h -l help -d 'Print help'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand batch" -l agent -d 'Who is asked, as cl-spawn --agent takes it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand batch" -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand batch" -s t -l timeout -d 'How long each stream may take' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand batch" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand batch" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand batch" -s h -l help -d 'Print help'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand first" -l agent -d 'Who is asked, as cl-spawn --agent takes it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand first" -s m -l model -d 'The model, by the agent\'s own name for it' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand first" -s t -l timeout -d 'How long each stream may take' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand first" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand first" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand first" -s h -l help -d 'Print help'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand show" -l run -d 'The folder of an earlier run to take the times from; repeatable' -r -F
complete -c cl-plan -n "__fish_cl_plan_using_subcommand show" -l dot -d 'Write the graph for Graphviz instead'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand show" -l mermaid -d 'Write the graph for Mermaid instead, as Markdown pages draw it'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand script" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand import" -l name -d 'The plan\'s name, by which its runs are called' -r
complete -c cl-plan -n "__fish_cl_plan_using_subcommand import" -l json -d 'Write JSON instead of TOML'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand status" -s h -l help -d 'Print help'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand todo" -l json -d 'Write the input of the TodoWrite tool instead'
complete -c cl-plan -n "__fish_cl_plan_using_subcommand todo" -s h -l help -d 'Print help'
