//! The parts of a configuration file that are read without a shell.

/// Why a file cannot be read natively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Stop {
    /// No shell would understand it either: the line, and what is wrong there.
    Syntax(usize, String),
    /// A shell has to say what it means: the line, and what stands there.
    Shell(usize, String),
}

/// What reading natively comes to.
pub(in crate::config) type Parsed<T> = std::result::Result<T, Stop>;

/// One command, and the line it begins on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) line: usize,
    pub(super) action: Action,
}

/// What a command does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `A=1 B=2`
    Assign(Vec<Assignment>),
    /// `export A B=2`; a name without a word has no `=`.
    Export(Vec<(String, Option<Word>)>),
    /// `unset A B`
    Unset(Vec<String>),
    /// `: WORD…` does nothing but expand its words, which may assign (`: ${BASE:=/srv/ltsp}`).
    Nothing(Vec<Word>),
}

/// `NAME=WORD`, and its own line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) word: Word,
}

/// A word, as pieces to be expanded and joined.
pub(super) type Word = Vec<Piece>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes as they are.
    Text { bytes: Vec<u8>, quoted: bool },
    /// `$NAME`, `${NAME}` and `${NAME…WORD}`.
    Parameter { name: String, modifier: Option<Modifier>, quoted: bool },
    /// The `~` that stands for the home directory.
    Home,
}

/// What follows the name in `${NAME…}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Modifier {
    pub(super) kind: ModifierKind,
    pub(super) word: Word,
}

/// What the operator after the name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModifierKind {
    /// `-`, with a colon if an empty value counts as none.
    Default { colon: bool },
    /// `=`
    Assign { colon: bool },
    /// `+`
    Alternative { colon: bool },
    /// `%` and `%%`, which are the same as long as the pattern has no wildcard.
    Suffix,
    /// `#` and `##`
    Prefix,
}
