/// The maximum length of a semaphore's name, in characters.
///
/// ```
/// assert_eq!(diesel_dbsemaphore::MAX_NAME_CHARS, 255);
/// ```
pub const MAX_NAME_CHARS: usize = 255;

/// The maximum length of a request's label, in characters.
///
/// ```
/// assert_eq!(diesel_dbsemaphore::MAX_LABEL_CHARS, 40);
/// ```
pub const MAX_LABEL_CHARS: usize = 40;

/// The maximum size of a semaphore, in tickets.
///
/// ```
/// assert_eq!(diesel_dbsemaphore::MAX_TICKETS, 1_000_000);
/// ```
pub const MAX_TICKETS: u32 = 1_000_000;
