// Package console is what clusterctl and clusterlab have in common: the streams a command reads and writes, the flags of all
// commands, results as JSON or as text, errors with their remedy, exit codes.
//
//	c := &console.Console{Streams: console.Std()}
//	root := &cobra.Command{Use: "clusterctl"}
//	c.Flags(root)
//	os.Exit(c.Execute(ctx, root, os.Args[1:]))
//
// Exit codes: 0 good, 1 failed, 2 wrong usage, 130 interrupted; the rest is api.Code.ExitCode.
package console
