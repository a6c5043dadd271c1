// Package examples holds configurations that work, also inside the programs: clusterctl demo pushes them.
package examples
