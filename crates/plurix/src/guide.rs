//! The chapters of `docs/guide`, so that their programs are documentation tests: compiled, and run unless
//! they join a cluster that is not there.

macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[doc = include_str!(concat!("../../../docs/guide/", $file))]
            mod $name {}
        )*
    };
}

chapters! {
    first_program: "first-program.md",
    transactions: "transactions.md",
    collections: "collections.md",
    activities: "activities.md",
    effects: "effects.md",
    teams: "teams.md",
    failure: "failure.md",
    deployment: "deployment.md",
    tuning: "tuning.md",
}
