//go:build !noinspect

package inspect

// compiledIn is the gate of the build tag noinspect. There is one implementation of
// this package; with the tag the condition that lets the inspection begin is a constant
// that is false, so the compiler and the linker drop everything behind it. What is not
// about inspection is the same code either way.
//
// Only two things have a second form: the locks, which with the tag are those of package
// sync, and the exporters, which are not linked.
const compiledIn = true
