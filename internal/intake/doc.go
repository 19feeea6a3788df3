// Package intake takes the reports of the async-inspect protocol in, for the
// processors that learn from them: it finds their scopes in a batch, decodes them,
// gives them to the processor ([Learn]), takes those out that do not go on, and counts
// what came, what was refused and what found no room.
//
// It also has what processors say of their bounded tables ([Fullness], [Eviction]), and
// of reports that do not arrive ([Gaps]).
package intake
