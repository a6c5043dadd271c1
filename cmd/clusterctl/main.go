package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"quorate/internal/console"
)

func main() { os.Exit(realMain()) }

func realMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, os.Args[1:], console.Std())
}
