_loragit_shell=zsh
# An alias is put in while a function is read, and would stay in it.
_loragit_aliases=
if [[ -o aliases ]]; then
    _loragit_aliases=on
    unsetopt aliases
fi
# Empty for zsh -c, for a script on standard input and in an interactive shell: then no file is the script.
_loragit_given=${ZSH_SCRIPT-}

_loragit_with_aliases() {
    if [[ -n $_loragit_aliases ]]; then
        setopt aliases
    fi
}

# Without hooks (chpwd).
_loragit_cd() {
    builtin cd -q -- "$1"
}

# What restores the traps: the caller is local to LOCAL_TRAPS, so zsh does.
_loragit_traps() {
    _loragit_saved=
}

# Deliver to this very shell, a subshell or not, the signal that it would have got.
_loragit_again() {
    emulate -L zsh
    zmodload zsh/system
    # zsh would end with status 1 where nobody handles SIGHUP.
    if [[ $1 == HUP ]] && ! _loragit_handles HUP; then
        exit 129
    fi
    kill -s $1 $sysparams[pid]
}

_loragit_handles() {
    emulate -L zsh
    # A subshell has no traps to list: they are listed here, into a file that zsh removes.
    () {
        trap >| $1
        grep -Eq "^TRAP$2 | $2\$" $1
    } =(:) $1
}
