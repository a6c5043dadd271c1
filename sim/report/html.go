package report

import (
	"errors"
	"io"

	"quorate/sim"
)

var errNoPictures = errors.New("this build draws no pictures")

func HTML(w io.Writer, t sim.Timeline) error { return errNoPictures }
func SVG(w io.Writer, t sim.Timeline) error  { return nil }
