// Package planted shows that the search of package sim bites. bugs.txt lists protocol mistakes, each a small replacement in the source of
// the production machines. The test, behind the build tag planted because it compiles clusterlab (scripts/planted runs it, and CI
// runs that), puts all of them into one binary by means of the compiler's -overlay, so that the real
// sources carry no trace of them, switches one on at a time and demands that "clusterctl sim swarm" finds it within a bounded number of
// seeds; with none switched on the same binary finds nothing.
//
// A mistake that does not fit the source any more fails the test: then the code it is about has changed, and
// bugs.txt must follow.
package planted
