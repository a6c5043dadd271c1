package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"quorate/api"
)

// Streams is what a command reads and writes; TTY says that Out is a terminal.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	TTY      bool
}

// Std are the streams of this process.
func Std() Streams {
	_, err := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, TTY: err == nil}
}

// Console is the state that all commands of a program share: the streams, and the flags that every command has.
type Console struct {
	Streams
	Output  string        // -o: table, json, or what Formats allows besides
	Timeout time.Duration // --timeout; 0: the command's own
	Color   string        // --color: auto, always or never
}

// ExitCode is the error that ends the process with a code after everything has been said.
type ExitCode int

func (e ExitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Flags gives the root command the common flags, and makes every command check them. more are the values of -o that a command,
// by its name, allows besides table and json.
func (c *Console) Flags(root *cobra.Command, more map[string]string) {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		allowed := []string{"table", "json"}
		if f := more[cmd.Name()]; f != "" {
			allowed = append(allowed, f)
		}
		if !slices.Contains(allowed, c.Output) {
			return Usagef("-o %s: want %s", c.Output, strings.Join(allowed, " or "))
		}
		if !slices.Contains([]string{"auto", "always", "never"}, c.Color) {
			return Usagef("--color %s: want auto, always or never", c.Color)
		}
		return nil
	}
	f := root.PersistentFlags()
	f.StringVarP(&c.Output, "output", "o", "table", "table or json; push also jsonl: one object per step")
	f.DurationVar(&c.Timeout, "timeout", 0, "give up after this long (default: 30s, a push also waits 30s for the directors)")
	f.StringVar(&c.Color, "color", "auto", "auto, always or never (NO_COLOR is honoured)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("%v; see %s --help", err, cmd.CommandPath())
	})
}

// Execute runs one command line and returns the exit code.
func (c *Console) Execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	err := root.ExecuteContext(ctx)
	var code ExitCode
	if errors.As(err, &code) {
		return int(code)
	}
	return c.complain(err)
}

// Print writes a result: as JSON, or by the table function.
func (c *Console) Print(v any, table func(io.Writer)) error {
	if c.Output == "table" {
		table(c.Out)
		return nil
	}
	enc := json.NewEncoder(c.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// complain prints an error with its remedy and returns the exit code that goes with it.
func (c *Console) complain(err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) {
		Say(c.Err, "clusterctl: interrupted\n")
		return 130
	}
	e := api.AsError(err)
	if strings.HasPrefix(e.Message, "unknown command") { // cobra's own
		e = &api.Error{Code: api.CodeUsage, Message: e.Message, Hint: "clusterctl --help lists the commands"}
	}
	if c.Output == "json" || c.Output == "jsonl" {
		if b, jerr := json.Marshal(e); jerr == nil {
			Say(c.Err, "%s\n", b)
			return e.Code.ExitCode()
		}
	}
	Say(c.Err, "clusterctl: %s\n", Clean(e.Message))
	if e.Hint != "" {
		Say(c.Err, "  %s\n", Clean(e.Hint))
	}
	return e.Code.ExitCode()
}

// UseColor says whether escape sequences are wanted.
func (c *Console) UseColor() bool {
	return c.Color == "always" || c.Color == "auto" && c.TTY && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Usagef is an error of the command line: exit code 2.
func Usagef(format string, args ...any) error {
	return &api.Error{Code: api.CodeUsage, Message: fmt.Sprintf(format, args...)}
}

// NoArgs refuses arguments.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef("%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// OneArg wants exactly one argument, which what names.
func OneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return Usagef("%s: want one %s, got %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

// Say prints to a stream whose failure cannot be reported anywhere.
func Say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// Clean keeps foreign text from steering the terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
