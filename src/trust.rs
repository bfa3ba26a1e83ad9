//! (see its owner's next commit)
