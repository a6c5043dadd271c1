package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"quorate/internal/console"
	"quorate/sim/real"
)

func main() { os.Exit(realMain()) }

func realMain() int {
	if was, err := real.ServeAgent(); was { // a guest's part of "sim run --backend uml"
		fmt.Fprintln(os.Stderr, "the player is gone:", err)
		return 1
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a simulated world is small and makes many small things: a third faster for a few megabytes
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, os.Args[1:], console.Std())
}

// cli is the state that all commands share.
type cli struct{ console.Console }

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, s console.Streams) int {
	c := &cli{console.Console{Streams: s}}
	// What people type is clusterctl, so that is what usage and errors say.
	root := &cobra.Command{Use: "clusterctl", Short: "the commands of clusterctl that need no cluster: clusterctl runs this program for them"}
	c.Flags(root, nil)
	root.AddCommand(c.demoCmd(), c.simCmd(), c.vrrpCmd())
	return c.Execute(ctx, root, args)
}
