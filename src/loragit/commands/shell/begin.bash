_loragit_shell=bash
# An alias is put in while a function is read, and would stay in it.
_loragit_aliases=
if shopt -q expand_aliases; then
    _loragit_aliases=on
    shopt -u expand_aliases
fi
# Empty for bash -c, for a script on standard input and in an interactive shell: then no file is the script.
_loragit_given=
case $- in
    *i* | *s*) ;;
    *) if [ -z "${BASH_EXECUTION_STRING-}" ]; then _loragit_given=${BASH_SOURCE[${#BASH_SOURCE[@]} - 1]-$0}; fi ;;
esac

_loragit_with_aliases() {
    if [ -n "$_loragit_aliases" ]; then
        shopt -s expand_aliases
    fi
}

_loragit_cd() {
    CDPATH='' builtin cd -- "$1" >/dev/null
}

# What restores the traps.
_loragit_traps() {
    _loragit_saved=$(trap -p INT TERM HUP)
}

# Deliver to this very shell, a subshell or not, the signal that it would have got.
_loragit_again() {
    kill -s "$1" "${BASHPID:-$$}"
}
