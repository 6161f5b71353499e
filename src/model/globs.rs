//! Patterns for names: what people write where they mean several.

use globset::GlobSet;

/// Patterns for names, such as `web-*`; a name matches if one of them does. None: nothing matches.
#[derive(Clone)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    /// Compiles `patterns`.
    ///
    /// # Errors
    /// One of them is no pattern; the error says which.
    pub fn new(patterns: Vec<String>) -> Result<Self, globset::Error> {
        let mut set = GlobSet::builder();
        for pattern in &patterns {
            set.add(globset::Glob::new(pattern)?);
        }
        Ok(Self { set: set.build()?, patterns })
    }

    /// Nothing matches.
    #[must_use]
    pub fn none() -> Self {
        Self { patterns: Vec::new(), set: GlobSet::empty() }
    }

    /// Everything matches.
    #[must_use]
    pub fn all() -> Self {
        Self::new(vec!["*".into()]).unwrap_or_else(|_| Self::none())
    }

    /// Whether `name` matches.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        self.set.is_match(name)
    }

    /// As they were written.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

impl std::fmt::Debug for Globs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.patterns.fmt(f)
    }
}

impl PartialEq for Globs {
    /// The compiled form follows from the patterns.
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Globs {}
