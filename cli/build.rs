//! The installed program carries no symbols. Its profile says so (`strip`), but building this package
//! for size undoes that (findings/cargo-override-undoes-strip.sh): the linker leaves them out then.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key, value| std::env::var(key).as_deref() == Ok(value);
    if is("OPT_LEVEL", "s") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}
