//! The errors that users meet. Each file in `ui` is a mistake, and the `.stderr` beside it what the compiler says; those in
//! `ui/pass` must compile. After a change that is meant, `TRYBUILD=overwrite cargo test -p warpring-macros --test ui`.

// Another compiler words and places its own part of the errors differently.
#[rustversion::attr(not(stable(1.95)), ignore = "the expected errors are those of rustc 1.95")]
#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
