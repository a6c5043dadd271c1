package config

// Limits of one reading. A configuration comes from people and over the network; none of
// these is met by a real file (the largest known have some 20,000 lines, 10,000 services with 4 servers take 8 MB), all of them stop
// a hostile one before it costs memory or time.
const (
	maxBytes         = 16 << 20 // all files of one configuration together
	maxFiles         = 1000     // opened by include, each opening counted
	maxIncludeDepth  = 16       // files inside files
	maxDepth         = 32       // blocks inside blocks
	maxLine          = 64 << 10 // one line after substitution
	maxExpansion     = 4 << 20  // bytes that came out of variables
	maxSubstitutions = 200_000  // uses of variables
	maxVariableDepth = 32       // variables inside variables
	maxDiagnostics   = 1000     // errors; with them the reading ends
	maxOfKind        = 100      // warnings with one code
	maxNear          = 1000     // names that a misspelt one is compared with
	maxPeers         = 1000     // of one instance
	maxShown         = 400      // longest line printed with a caret
	keepalivedLine   = 1023
)
