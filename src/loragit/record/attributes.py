"""``.gitattributes`` of a record: what git writes from it into a work tree or an archive are the
recorded bytes, whatever the user's attributes and ``core.autocrlf`` say."""

from __future__ import annotations

from loragit.record.values import Entry

NAME = ".gitattributes"
"""Where git reads the attributes of a folder and all below it."""

# An attribute that is not named stays as the user has it (diff, merge): those change no bytes.
# git refuses "-working-tree-encoding"; "!" takes back what a file of lower rank says.
ATTRIBUTES = Entry(
    NAME,
    b"# A work tree or an archive of this record holds the recorded bytes.\n"
    b"* -text !eol -ident -filter !working-tree-encoding -export-ignore -export-subst\n",
)
