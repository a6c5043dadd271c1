package api

import (
	"errors"
	"fmt"
	"net/http"

	"quorate/cluster"
	"quorate/config"
)

// Code says what kind of error an Error is. The word is part of the API; scripts may test it.
type Code string

// Codes of an Error.
const (
	CodeUsage       Code = "usage"        // the request itself is wrong
	CodeDenied      Code = "denied"       // no or a wrong token, no client certificate
	CodeNotFound    Code = "not_found"    // no such generation, token, member
	CodeInvalid     Code = "invalid"      // the configuration has errors; Diagnostics says which
	CodeNoQuorum    Code = "no_quorum"    // the majority of the members does not answer
	CodeUnreachable Code = "unreachable"  // the member asked for does not answer
	CodeConflict    Code = "conflict"     // --if-rev, or a name that is taken
	CodeRollout     Code = "rollout"      // committed, but a director cannot run it
	CodeTimeout     Code = "timeout"      // waited as long as asked
	CodeStore       Code = "store_failed" // this member's store is not open
	CodeInternal    Code = "internal"
)

// Error is what the API answers instead of a result and what Client returns: what failed, its kind and what to do next.
type Error struct {
	Message     string              `json:"error"`
	Code        Code                `json:"code"`
	Hint        string              `json:"hint,omitempty"`
	Diagnostics []config.Diagnostic `json:"diagnostics,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// errf makes an Error without a hint.
func errf(c Code, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Code: c}
}

// withHint returns the error with what to do about it.
func (e *Error) withHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// AsError turns any error into an Error; errors of the store get the code and hint an operator needs.
func AsError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, cluster.ErrNoQuorum):
		return errf(CodeNoQuorum, "%s", err).withHint("a majority of the members must be up and reachable; clusterctl status shows who is missing. VRRP keeps working meanwhile")
	case errors.Is(err, cluster.ErrTimeout):
		return errf(CodeTimeout, "%s", err).withHint("repeat the command: a repeated push finds its own first attempt")
	case errors.Is(err, cluster.ErrFailed), errors.Is(err, cluster.ErrClosed):
		return errf(CodeStore, "%s", err).withHint("clusterctl status shows why; the store is opened again by itself once the cause is gone")
	case errors.Is(err, cluster.ErrNotFound):
		return errf(CodeNotFound, "%s", err)
	}
	return errf(CodeInternal, "%s", err)
}

// httpStatus is the HTTP status that goes with a code.
func (c Code) httpStatus() int {
	switch c {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeDenied:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeInvalid:
		return http.StatusUnprocessableEntity
	case CodeConflict:
		return http.StatusConflict
	case CodeNoQuorum, CodeStore, CodeUnreachable:
		return http.StatusServiceUnavailable
	case CodeTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// ExitCode is the exit code clusterctl ends with for this kind of error.
func (c Code) ExitCode() int {
	switch c {
	case CodeInvalid:
		return 4 // as keepalived -t: the file has errors
	case CodeNoQuorum, CodeUnreachable, CodeStore:
		return 6
	case CodeConflict:
		return 7
	case CodeRollout:
		return 8
	case CodeTimeout:
		return 9
	case CodeUsage:
		return 2
	}
	return 1
}
