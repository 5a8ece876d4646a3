package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// days is a duration as flags take it: with d for days, too.
type days time.Duration

func (d *days) String() string {
	if *d == 0 { // not given
		return ""
	}
	if n := time.Duration(*d) / (24 * time.Hour); n > 0 && time.Duration(*d)%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", n)
	}
	return time.Duration(*d).String()
}

func (d *days) Set(s string) error {
	parsed, err := time.ParseDuration(s)
	if n, found := strings.CutSuffix(s, "d"); found {
		var whole float64
		whole, err = strconv.ParseFloat(n, 64)
		parsed = time.Duration(whole * float64(24*time.Hour))
	}
	if err != nil || parsed <= 0 {
		return fmt.Errorf("%q is no duration above 0, such as 7d or 36h", s)
	}
	*d = days(parsed)
	return nil
}

// UnmarshalText reads a duration of the configuration.
func (d *days) UnmarshalText(text []byte) error { return d.Set(string(text)) }

func (d *days) Type() string { return "duration" }
