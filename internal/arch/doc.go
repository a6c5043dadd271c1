// Package arch holds no code, only the test that keeps the house in order: which package may
// import which, and what a pure package must not do. Each rule carries its reason, and the
// test prints it beside the line that breaks it.
package arch
