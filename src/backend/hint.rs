//! An error of the server with a hint of this crate.

use diesel::result::DatabaseErrorInformation;
use std::fmt;

type Raised = Box<dyn DatabaseErrorInformation + Send + Sync>;

pub(crate) fn with_hint(raised: Raised, hint: String) -> Raised {
    Box::new(ErrorWithHint { raised, hint })
}

struct ErrorWithHint {
    raised: Raised,
    hint: String,
}

impl DatabaseErrorInformation for ErrorWithHint {
    fn message(&self) -> &str {
        self.raised.message()
    }
    fn details(&self) -> Option<&str> {
        self.raised.details()
    }
    fn hint(&self) -> Option<&str> {
        Some(&self.hint)
    }
    fn table_name(&self) -> Option<&str> {
        self.raised.table_name()
    }
    fn column_name(&self) -> Option<&str> {
        self.raised.column_name()
    }
    fn constraint_name(&self) -> Option<&str> {
        self.raised.constraint_name()
    }
    fn statement_position(&self) -> Option<i32> {
        self.raised.statement_position()
    }
}

impl fmt::Debug for ErrorWithHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.message(), f)
    }
}
