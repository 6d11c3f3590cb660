# What follows is read by zsh and by bash, whatever their options: no list is taken apart, no variable is read unset.

# The run's name, dataset, steps and folder of outputs as NAME, DATASET_NAME, TRAINING_DIR, STEPS and OUTPUT_DIR.
# What is set already stays. Usage: setup_training_vars NAME
setup_training_vars() {
    if [ "$_loragit_shell" = zsh ]; then emulate -L zsh; fi
    local _loragit_said
    if ! _loragit_said=$(
        export DATASET_NAME="${DATASET_NAME-}" TRAINING_DIR="${TRAINING_DIR-}"
        export STEPS="${STEPS-}" OUTPUT_DIR="${OUTPUT_DIR-}"
        _loragit_call shell variables "${1-}"
    ); then
        _loragit_interactive || exit 1
        return 1
    fi
    eval "$_loragit_said"
}

# Activates an environment of conda, mamba or micromamba in this shell. Usage: setup_conda_env ENV [CONDA_PATH]
setup_conda_env() {
    if [ "$_loragit_shell" = zsh ]; then emulate -L zsh; fi
    # A script may go on after a failure or a Ctrl-C, but not in the Python that was there before.
    _loragit_failed=${1:-without a name}
    _loragit_failed_in=${VIRTUAL_ENV-}:${CONDA_PREFIX-}
    if ! _loragit_set_up "$@"; then
        _loragit_failed_in=${VIRTUAL_ENV-}:${CONDA_PREFIX-}
        return 1
    fi
    _loragit_failed=
}

_loragit_set_up() {
    local _loragit_said _loragit_kind _loragit_program _loragit_target _loragit_prefix
    local _loragit_options=$- _loragit_status=0
    _loragit_said=$(_loragit_call shell conda "$@") || return 1
    eval "$_loragit_said"
    # What environments run when they are activated may not be written for these.
    set +eu
    _loragit_activate
    _loragit_status=$?
    case $_loragit_options in *e*) set -e ;; esac
    case $_loragit_options in *u*) set -u ;; esac
    if [ "$_loragit_status" -ne 0 ] || ! [ "${CONDA_PREFIX-}" -ef "$_loragit_prefix" ]; then
        _loragit_error "$_loragit_program did not activate $_loragit_prefix" \
            "see what it says to: $_loragit_kind activate $_loragit_target"
        return 1
    fi
    _loragit_activated=$CONDA_PREFIX
    printf 'Conda environment: %s\n' "$CONDA_PREFIX"
}

_loragit_activate() {
    local _loragit_hook
    if [ "$_loragit_kind" = conda ]; then
        _loragit_hook=$("$_loragit_program" "shell.$_loragit_shell" hook) || return 1
    else
        _loragit_hook=$("$_loragit_program" shell hook --shell "$_loragit_shell") || return 1
    fi
    eval "$_loragit_hook" || return 1
    "$_loragit_kind" activate "$_loragit_target"
}

# Whether the Python that is at hand is one that somebody asked for: setup_conda_env did not fail, or an environment was
# activated since, or named to loragit itself.
_loragit_require_environment() {
    if [ -z "$_loragit_failed" ] || [ "$_loragit_failed_in" != "${VIRTUAL_ENV-}:${CONDA_PREFIX-}" ] ||
        [ -n "${LORAGIT_TRAINER_PYTHON-}${LORAGIT_TRAINER_ENV-}" ]; then
        return 0
    fi
    _loragit_error "setup_conda_env failed ($_loragit_failed), and nobody asked for another Python" \
        'mend what it said, or activate an environment in another way'
    return 1
}

# Prints the folder of the repository that LyCORIS is imported from.
get_lycoris_repo() {
    if [ "$_loragit_shell" = zsh ]; then emulate -L zsh; fi
    _loragit_require_environment || return 1
    _loragit_call shell lycoris || return 1
}

# Tells how repositories stand; run_training_script records them. Usage: store_commits_hashes REPOSITORY...
store_commits_hashes() {
    if [ "$_loragit_shell" = zsh ]; then emulate -L zsh; fi
    local _loragit_each _loragit_status=0 _loragit_sd=${SD_REPO-} _loragit_lycoris=${LYCORIS_REPO-}
    for _loragit_each in "$@"; do
        # An empty one is a variable that nobody set. Both are recorded as loragit finds them.
        if [ -z "$_loragit_each" ] && [ -z "$_loragit_sd" ]; then
            _loragit_sd=listed
            _loragit_default_repository SD_REPO || _loragit_status=1
            continue
        fi
        if [ -z "$_loragit_each" ] && [ -z "$_loragit_lycoris" ]; then
            _loragit_lycoris=listed
            { _loragit_require_environment && _loragit_default_repository LYCORIS_REPO; } || _loragit_status=1
            continue
        fi
        case $_loragit_each in
            '' | /*) ;;
            *) _loragit_each=$PWD/$_loragit_each ;;
        esac
        if _loragit_call shell repository "$_loragit_each"; then
            _loragit_repos+=("$_loragit_each")
        else
            _loragit_status=1
        fi
    done
    return "$_loragit_status"
}

_loragit_default_repository() (
    export NAME="${NAME-}" TRAINING_DIR="${TRAINING_DIR-}" STEPS="${STEPS-}"
    _loragit_call shell default-repository "$1"
)

# Trains, on record; the status is the trainer's. Usage: run_training_script SCRIPT [ARGUMENTS...]
run_training_script() {
    if [ "$_loragit_shell" = zsh ]; then emulate -L zsh; fi
    local _loragit_trainer=${1-}
    if [ -z "$_loragit_trainer" ]; then
        _loragit_error "run_training_script was given no script" \
            'name the trainer'\''s: run_training_script "$SD_REPO/sdxl_train_network.py" "${args[@]}"'
        return 1
    fi
    shift
    _loragit_require_environment || return 1
    case $_loragit_trainer in
        /*) ;;
        *) _loragit_trainer=$PWD/$_loragit_trainer ;;
    esac
    if [ -n "${LORAGIT_RUN-}" ]; then
        # The run is on record already: this script is what loragit started.
        _loragit_debug "part of the run $LORAGIT_RUN; working directory: ${_loragit_trainer%/*}"
        (_loragit_cd "${_loragit_trainer%/*}" && exec "$(_loragit_found python python3)" "$_loragit_trainer" "$@")
        return
    fi
    case ${NAME-} in
        '' | -*)
            _loragit_error "NAME holds no run's name: '${NAME-}'" "set it first: setup_training_vars NAME"
            return 1
            ;;
    esac
    _loragit_signal='' _loragit_child='' _loragit_status=0
    if _loragit_interactive; then
        (_loragit_train "$_loragit_trainer" "$@") || _loragit_status=$?
    else
        _loragit_watch "$_loragit_trainer" "$@"
    fi
    if [ -n "$_loragit_signal" ]; then
        _loragit_again "$_loragit_signal"
    fi
    return "$_loragit_status"
}

# Becomes loragit: the last command of a subshell.
_loragit_train() {
    local _loragit_trainer=$1 _loragit_each _loragit_python
    local -a _loragit_options
    shift
    _loragit_options=(--trainer-script "$_loragit_trainer")
    if [ -f "$_loragit_self" ]; then
        _loragit_options+=(--from-script "$_loragit_self")
    elif [ -n "$_loragit_given" ]; then
        printf 'warning: the script %s was not found, and train.sh is recorded in its place; %s\n' \
            "$_loragit_given" 'call it by its whole path, or read the functions before cd' >&2
    fi
    for _loragit_each in ${_loragit_repos[@]+"${_loragit_repos[@]}"}; do
        # LyCORIS is recorded as the trainer's Python finds it.
        if [ "$_loragit_each" != "${LYCORIS_REPO-}" ]; then
            _loragit_options+=(--repo "$_loragit_each")
        fi
    done
    # These are variables of the script, and most scripts export none. Empty ones count as not set.
    export TRAINING_DIR="${TRAINING_DIR-}" STEPS="${STEPS-}" LYCORIS_REPO="${LYCORIS_REPO-}"
    export NO_CLEAN="${NO_CLEAN-}" DEBUG="${DEBUG-}"
    export OUTPUT_DIR="${OUTPUT_DIR:+$OUTPUT_DIR/$NAME}"
    export LORAGIT_TRAINER_REPO="${_loragit_trainer%/*}" LORAGIT_TRAINER_WORKDIR=trainer LORAGIT_SHELL="$_loragit_shell"
    _loragit_python=$(_loragit_environments_python)
    if [ -n "$_loragit_python" ]; then
        export LORAGIT_TRAINER_PYTHON="$_loragit_python"
    fi
    exec "${_loragit_words[@]}" train "$NAME" "${_loragit_options[@]}" -- "$@"
}

# The Python of the environment that is active, if any is; of two, the one that comes first on PATH.
_loragit_environments_python() {
    local _loragit_venv=${VIRTUAL_ENV-} _loragit_conda=${CONDA_PREFIX-} _loragit_behind=
    if [ -n "${LORAGIT_TRAINER_PYTHON-}${LORAGIT_TRAINER_ENV-}" ]; then
        return
    fi
    [ -n "$_loragit_venv" ] && [ -x "$_loragit_venv/bin/python" ] || _loragit_venv=
    [ -n "$_loragit_conda" ] && [ -x "$_loragit_conda/bin/python" ] || _loragit_conda=
    # Many shells start with conda's own environment, and mean nothing by it.
    if [ "$_loragit_conda" != "$_loragit_activated" ] &&
        { [ "${CONDA_DEFAULT_ENV-}" = base ] || [ -d "$_loragit_conda/condabin" ]; }; then
        _loragit_conda=
    fi
    if [ -n "$_loragit_venv" ] && [ -n "$_loragit_conda" ]; then
        case :$PATH: in
            *":$_loragit_conda/bin:"*)
                _loragit_behind=:$PATH:
                _loragit_behind=:${_loragit_behind#*":$_loragit_conda/bin:"}
                case $_loragit_behind in *":$_loragit_venv/bin:"*) _loragit_venv= ;; esac
                ;;
        esac
    fi
    _loragit_venv=${_loragit_venv:-$_loragit_conda}
    printf '%s' "${_loragit_venv:+$_loragit_venv/bin/python}"
}

# Trains in a child that this shell waits for: a shell runs its traps only when its foreground command has ended, and
# whoever ends a script must not have to wait for a training. Sets _loragit_status and _loragit_signal.
_loragit_watch() {
    if [ "$_loragit_shell" = zsh ]; then
        emulate -L zsh
        unsetopt bg_nice
    fi
    local _loragit_each _loragit_saved _loragit_bits=0 _loragit_heeded=
    # What is ignored (nohup) must stay so. No shell says what it was started with, but a child inherits it, and tells
    # by its status: in a subshell, zsh would already heed again what it had ignored.
    /bin/sh -c 'n=0
        trap "n=\$((n + 1))" INT; kill -s INT $$
        trap "n=\$((n + 2))" TERM; kill -s TERM $$
        trap "n=\$((n + 4))" HUP; kill -s HUP $$
        exit $n' || _loragit_bits=$?
    if [ $((_loragit_bits & 1)) -ne 0 ]; then _loragit_heeded="$_loragit_heeded INT"; fi
    if [ $((_loragit_bits & 2)) -ne 0 ]; then _loragit_heeded="$_loragit_heeded TERM"; fi
    if [ $((_loragit_bits & 4)) -ne 0 ]; then _loragit_heeded="$_loragit_heeded HUP"; fi
    _loragit_traps
    for _loragit_each in INT TERM HUP; do
        case $_loragit_heeded in *$_loragit_each*) trap "_loragit_pass_on $_loragit_each" "$_loragit_each" ;; esac
    done
    (
        for _loragit_each in INT TERM HUP; do
            case $_loragit_heeded in *$_loragit_each*) ;; *) trap '' "$_loragit_each" ;; esac
        done
        # Shells let their background commands ignore these.
        case $_loragit_heeded in *INT*) trap - INT QUIT ;; esac
        _loragit_train "$@"
    ) &
    _loragit_child=$!
    if [ -n "$_loragit_signal" ]; then
        kill -s "$_loragit_signal" "$_loragit_child" 2>/dev/null || :
    fi
    _loragit_wait
    for _loragit_each in INT TERM HUP; do
        case $_loragit_heeded in *$_loragit_each*) trap - "$_loragit_each" ;; esac
    done
    eval "$_loragit_saved"
}

# A signal for this shell is one for the training. loragit counts it once where a terminal has told both.
_loragit_pass_on() {
    _loragit_signal=${_loragit_signal:-$1}
    if [ -n "$_loragit_child" ]; then
        kill -s "$1" "$_loragit_child" 2>/dev/null || :
    fi
}

# Waits until the child has ended, however often a signal interrupts that. Its status is _loragit_status.
_loragit_wait() {
    local _loragit_again=127
    _loragit_status=0
    wait "$_loragit_child" || _loragit_status=$?
    while kill -0 "$_loragit_child" 2>/dev/null; do
        _loragit_status=0
        wait "$_loragit_child" || _loragit_status=$?
    done
    if [ "$_loragit_status" -gt 128 ]; then
        # Either the child's status or that of a wait that was interrupted just before the child ended.
        wait "$_loragit_child" 2>/dev/null && _loragit_again=0 || _loragit_again=$?
        if [ "$_loragit_again" -ne 127 ]; then _loragit_status=$_loragit_again; fi
    fi
    _loragit_child=
}

# For trap ... EXIT TERM: ends a training that still runs. loragit itself has sealed or reverted every other, and has
# removed what it made; nothing is removed here.
cleanup_empty_output() {
    local _loragit_last=$?
    if [ "$_loragit_shell" = zsh ]; then emulate -L zsh; fi
    if [ -n "${LORAGIT_RUN-}" ]; then
        return "$_loragit_last"
    fi
    if [ -n "$_loragit_child" ] && kill -0 "$_loragit_child" 2>/dev/null; then
        _loragit_debug "cleanup: the training still runs, and is ended"
        kill -s TERM "$_loragit_child" 2>/dev/null || :
        _loragit_wait
    fi
    if [ -z "${OUTPUT_DIR-}" ] || [ -z "${NAME-}" ]; then
        _loragit_debug "cleanup: no run was set up"
    elif [ -e "$OUTPUT_DIR/$NAME" ]; then
        _loragit_debug "cleanup: $OUTPUT_DIR/$NAME stays"
    else
        _loragit_debug "cleanup: there is no $OUTPUT_DIR/$NAME"
    fi
    return "$_loragit_last"
}

_loragit_call() {
    "${_loragit_words[@]}" "$@"
}

_loragit_interactive() {
    case $- in *i*) return 0 ;; esac
    return 1
}

_loragit_error() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
}

_loragit_debug() {
    case ${DEBUG-} in
        '' | 0) ;;
        *) printf 'loragit: %s\n' "$1" >&2 ;;
    esac
}

# The first of some programs that is on PATH; else the first.
_loragit_found() {
    local _loragit_each
    for _loragit_each in "$@"; do
        if command -v "$_loragit_each" >/dev/null; then
            printf '%s' "$_loragit_each"
            return
        fi
    done
    printf '%s' "$1"
}

# The file of the script that this shell runs, symbolic links resolved, as _loragit_self; empty where there is none.
# Where the script has left the folder that it was called in, that is the one before, or its open file tells.
_loragit_find_self() {
    if [ "$_loragit_shell" = zsh ]; then emulate -L zsh; fi
    local _loragit_each
    _loragit_self=
    case $1 in
        '') return 0 ;;
        /*) _loragit_self=$1 ;;
        *)
            for _loragit_each in "$PWD" "${OLDPWD:-$PWD}"; do
                if [ -z "$_loragit_self" ] && [ -f "$_loragit_each/$1" ] && _loragit_reads "$_loragit_each/$1"; then
                    _loragit_self=$_loragit_each/$1
                fi
            done
            if [ -z "$_loragit_self" ]; then _loragit_self=$(_loragit_reads_one_called "${1##*/}"); fi
            ;;
    esac
    if [ -f "$_loragit_self" ]; then
        _loragit_self=$(readlink -f -- "$_loragit_self" 2>/dev/null || printf '%s' "$_loragit_self")
    fi
}

# Whether this shell has a file open, as it has its script. Only Linux tells; elsewhere the answer is yes.
_loragit_reads() (
    [ -d "/proc/$$/fd" ] || exit 0
    set +f
    for _loragit_open in "/proc/$$/fd"/*; do
        if [ "$_loragit_open" -ef "$1" ]; then exit 0; fi
    done
    exit 1
)

# The open file of this name, if there is one.
_loragit_reads_one_called() {
    local _loragit_open _loragit_path
    [ -d "/proc/$$/fd" ] || return 0
    set +f # in a subshell
    for _loragit_open in "/proc/$$/fd"/*; do
        _loragit_path=$(readlink -- "$_loragit_open" 2>/dev/null || :)
        if [ "${_loragit_path##*/}" = "$1" ] && [ -f "$_loragit_path" ]; then
            printf '%s' "$_loragit_path"
            return 0
        fi
    done
}

_loragit_repos=()
_loragit_activated=
_loragit_failed=
_loragit_failed_in=
_loragit_child=
_loragit_signal=
_loragit_find_self "$_loragit_given"
_loragit_with_aliases
