use super::*;

/// A module with one entry that has this body.
fn module(body: &str) -> String {
    format!(
        ".version 7.0\n.global .align 8 .b8 TABLE[8] = {{6, 1}};\n\
         .visible .entry warpring_run(\n\t.param .u64 .ptr .align 1 warpring_run_param_0\n)\n{{\n{body}\tret;\n}}\n"
    )
}

/// The line of the PTX that the first line of a body is.
const FIRST: usize = 7;

fn rules(text: &str) -> Vec<(Rule, usize)> {
    check(text, "bank").into_iter().map(|finding| (finding.rule, finding.line)).collect()
}

#[track_caller]
fn finds(body: &str, rule: Rule, line: usize) {
    assert_eq!(rules(&module(body)), [(rule, FIRST + line)], "{body}");
}

#[track_caller]
fn passes(body: &str) {
    assert_eq!(rules(&module(body)), [], "{body}");
}

#[test]
fn what_is_missing_is_reported_with_the_users_function() {
    let text = "\
.extern .func  (.param .b64 func_retval0) malloc
(
\t.param .b64 malloc_param_0
)
;
.extern .global .align 4 .u32 WHAT;
.func _RNvCs4usWltvQ1Wu_5alloc3new()
{
\tcall.uni (retval0), malloc, (param0);
}
.func _RNvCs4usWltvQ1Wu_4bank5audit()
{
\tcall.uni _RNvCs4usWltvQ1Wu_5alloc3new, ();
}
.func _RNvCs4usWltvQ1Wu_4bank3all()
{
\tcall.uni _RNvCs4usWltvQ1Wu_4bank5audit, ();
}
";
    let found = check(text, "bank");
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].rule, found[0].line, found[0].what.as_str()), (Rule::Extern, 1, "malloc"));
    assert_eq!(found[0].users, ["bank::audit"], "the first of the crate, not those above it");
    assert_eq!((found[1].rule, found[1].line, found[1].what.as_str()), (Rule::Extern, 6, "WHAT"));
    assert!(found[0].to_string().contains("from `bank::audit`"), "{}", found[0]);
    // Where no function of the crate is left, the direct caller.
    assert_eq!(check(text, "shop")[0].users, ["alloc::new"]);
    let declared =
        text.replace(".extern .func  (.param .b64 func_retval0) malloc", ".func malloc").replace(".extern .global", ".global");
    assert_eq!(rules(&declared), []);
}

#[test]
fn a_function_belongs_to_the_crate_that_wrote_it() {
    for (function, own) in [
        ("bank::audit", true),
        ("<bank::Account as warpring_core::RingKernelHandler<bank::Deposit>>::handle::{closure#0}", true),
        ("<&bank::Account as core::fmt::Debug>::fmt", true),
        ("alloc::boxed::new::<bank::Account>", false),
        ("banker::audit", false),
    ] {
        assert_eq!(is_of(function, "bank"), own, "{function}");
    }
}

#[test]
fn only_constants_are_read_through_the_read_only_cache() {
    finds("\tld.param.b64 %rd1, [warpring_run_param_0];\n\tld.global.nc.b64 %rd2, [%rd1];\n", Rule::ReadOnlyLoad, 1);
    // A pointer and an offset, in either order, through copies.
    finds(
        "\tld.param.b64 %rd1, [p];\n\tadd.s64 %rd2, %rd1, 8;\n\tadd.s64 %rd3, %rd4, %rd2;\n\tld.global.nc.b64 %rd5, [%rd3+8];\n",
        Rule::ReadOnlyLoad,
        3,
    );
    finds(
        "\tld.param.b64 %rd1, [p];\n\tadd.s64 %rd2, %rd1, 8;\n\tadd.s64 %rd3, %rd1, %rd2;\n\tld.global.nc.b8 %r5, [%rd3];\n",
        Rule::ReadOnlyLoad,
        3,
    );
    // A register that is a constant's address on one path and a pointer on the other.
    finds("\tmov.b64 %rd1, TABLE;\n\tmov.b64 %rd1, %rd9;\n\tld.global.nc.b64 %rd2, [%rd1];\n", Rule::ReadOnlyLoad, 2);
    // A variable that is not of this module, and a register that nothing defines.
    finds("\tld.global.nc.b64 %rd2, [OTHER];\n", Rule::ReadOnlyLoad, 0);
    finds("\tldu.global.b64 %rd2, [%rd1];\n", Rule::ReadOnlyLoad, 0);

    passes("\tld.global.nc.b64 %rd2, [TABLE+8];\n");
    passes(
        "\tmov.b64 %rd1, TABLE;\n\tshl.b64 %rd3, %rd4, 2;\n\tadd.s64 %rd5, %rd3, %rd1;\n\tld.global.nc.b32 %r2, [%rd5+1024];\n",
    );
    passes("\tmov.b64 %rd1, TABLE;\n$L_1:\n\tld.global.nc.b32 %r2, [%rd1];\n\tadd.s64 %rd1, %rd1, 4;\n\t@%p1 bra $L_1;\n");
    passes(
        "\tmov.b64 %rd1, TABLE;\n\tmad.lo.s64 %rd2, %rd7, 24, %rd1;\n\tcvta.global.u64 %rd3, %rd2;\n\tld.global.nc.v2.b32 {%r2, %r3}, [%rd3];\n",
    );
    passes("\tld.global.b64 %rd2, [%rd1];\n");
}

#[test]
fn atomics_name_their_scope() {
    finds("\tatom.global.add.u32 %r1, [%rd2], 1;\n", Rule::UnscopedAtomic, 0);
    finds("\tret;\n\t@%p1 red.global.add.u32 [%rd2], 1;\n", Rule::UnscopedAtomic, 1);
    for scope in ["cta", "cluster", "gpu", "sys"] {
        passes(&format!("\tatom.acq_rel.{scope}.global.add.u32 %r1, [%rd2], 1;\n\tred.relaxed.{scope}.add.u32 [%rd2], 1;\n"));
    }
}

#[test]
fn nothing_is_copied_byte_by_byte() {
    // As LLVM lowers a copy of unknown length, a copy of 77 bytes from its end, and an unrolled loop's rest.
    finds(
        "$L_2:\n\tadd.s64 %rd6, %rd1, %rd8;\n\tld.global.b8 %rs1, [%rd6];\n\tadd.s64 %rd7, %rd2, %rd8;\n\tst.global.b8 [%rd7], %rs1;\n\
         \tadd.s64 %rd8, %rd8, 1;\n\tsetp.lt.u64 %p2, %rd8, %rd3;\n\t@%p2 bra $L_2;\n",
        Rule::ByteCopy,
        0,
    );
    finds(
        "\tmov.b64 %rd9, 76;\n$L_4:\n\tld.u8 %rs2, [%rd7];\n\tst.u8 [%rd8], %rs2;\n\tadd.s64 %rd9, %rd9, -1;\n\
         \tsetp.eq.b64 %p3, %rd9, -1;\n\t@%p3 bra $L_5;\n\tbra.uni $L_4;\n$L_5:\n",
        Rule::ByteCopy,
        1,
    );
    // A copy that also sums the bytes does what it must.
    passes(
        "$L_2:\n\tld.b8 %rs1, [%rd6];\n\tst.b8 [%rd7], %rs1;\n\tadd.s16 %rs3, %rs3, %rs1;\n\tadd.s64 %rd8, %rd8, 1;\n\t@%p2 bra $L_2;\n",
    );
    // By words; a search; a fill; bytes that are changed on the way; a copy that runs once.
    passes("$L_2:\n\tld.b32 %r1, [%rd6];\n\tst.b32 [%rd7], %r1;\n\tadd.s64 %rd8, %rd8, 1;\n\t@%p2 bra $L_2;\n");
    passes("$L_2:\n\tld.b8 %rs1, [%rd6];\n\tadd.s64 %rd6, %rd6, 1;\n\tsetp.ne.b16 %p2, %rs1, 0;\n\t@%p2 bra $L_2;\n");
    passes("$L_2:\n\tst.b8 [%rd6], 3;\n\tadd.s64 %rd6, %rd6, 1;\n\t@%p2 bra $L_2;\n");
    passes(
        "$L_2:\n\tld.b8 %rs1, [%rd6];\n\txor.b16 %rs2, %rs1, 85;\n\tst.b8 [%rd7], %rs2;\n\tadd.s64 %rd6, %rd6, 1;\n\t@%p2 bra $L_2;\n",
    );
    passes("$L_2:\n\tld.b8 %rs1, [%rd6];\n\tst.b8 [%rd7], %rs1;\n\tadd.s64 %rd8, %rd8, 1;\n\t@%p2 bra $L_3;\n$L_3:\n");
}

#[test]
fn no_barrier_stands_in_inline_assembly() {
    for barrier in [
        "bar.warp.sync 0xffffffff",
        "bar.sync 0",
        "barrier.sync 0",
        "vote.sync.ballot.b32 %r1, %p1, -1",
        "shfl.sync.idx.b32 %r1, %r2, 0, 31, -1",
    ] {
        finds(&format!("\t// begin inline asm\n\t{barrier};\n\t// end inline asm\n"), Rule::AsmBarrier, 1);
        passes(&format!("\t// begin inline asm\n\texit;\n\t// end inline asm\n\t{barrier};\n"));
    }
    finds("\t// begin inline asm\n\t{ mov.u32 %r1, 1; bar.sync 0; }\n\t// end inline asm\n", Rule::AsmBarrier, 1);
}

#[test]
fn entries_take_raw_pointers() {
    let entry = |parameter: &str| format!(".visible .entry warpring_run(\n\t.param {parameter}\n)\n{{\n\tret;\n}}\n");
    for bad in [".u64 .ptr .align 8 p_0", ".align 8 .b8 p_0[24]", ".u32 p_0", ".u64 .ptr .const .align 1 p_0", ".b64 p_0[2]"] {
        assert_eq!(rules(&entry(bad)), [(Rule::EntryParameter, 2)], "{bad}");
    }
    for good in [".u64 .ptr .align 1 p_0", ".u64 p_0", ".u64 .ptr p_0"] {
        assert_eq!(rules(&entry(good)), [], "{good}");
    }
    // Functions take what they like.
    assert_eq!(rules(".func f(\n\t.param .align 8 .b8 p_0[24]\n)\n{\n\tret;\n}\n"), []);
}

#[test]
fn there_is_no_debug_information() {
    finds("\t.loc\t1 5 3\n", Rule::DebugInfo, 0);
    assert_eq!(rules(&format!("{}\t.file\t1 \"/elsewhere/lib.rs\"\n", module(""))), [(Rule::DebugInfo, 9)]);
    assert_eq!(rules(&format!("{}\t.section\t.debug_abbrev\n", module(""))), [(Rule::DebugInfo, 9)]);
}

#[test]
fn a_finding_names_the_function_and_the_line() {
    let text = ".func _RNvCs4usWltvQ1Wu_4bank5audit()\n{\n\tatom.add.u32 %r1, [%rd2], 1;\n}\n";
    let found = check(text, "bank");
    assert_eq!(found[0].to_string(), "line 3, in `bank::audit`: `atom.add.u32`: an atomic without a scope");
}
