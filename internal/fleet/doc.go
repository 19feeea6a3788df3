// Package fleet merges the reports of many processes into what is true now:
// which processes report, which of their tasks are live, and which waits are open.
//
// In: decoded reports ([report.Report]) and ended tasks, in any order, repeated
// or with gaps. Out: [Event] values that say what changed. The table follows the
// receiver rules of docs/protocol.md: a report is a whole state, a newer revision
// wins, closed wins, a heartbeat is a lease, three missed ones are the end of a
// process. The result does not depend on the order of the reports.
//
// The package is a pure core: no clock (time is an argument), no goroutine, no
// lock, no logger. Its owner guards it. Tasks and waits that it hands out are
// immutable: the table replaces them and never changes one, so a reader that has
// copied the pointers needs no lock.
//
// Everything is bounded by [Limits]. At the limit a process with more than its
// fair share loses its youngest waits and tasks to others, and running tasks go before
// blocked ones; nothing is lost silently.
package fleet
