package filter_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"iocpipe/filter"
	"iocpipe/filter/source"
)

// A marker marks failed logins.
type marker struct{}

func (marker) Process(dst []byte, b *filter.Block) []byte {
	for line := range bytes.Lines(b.Data) {
		if bytes.Contains(line, []byte("Failed password")) {
			dst = append(dst, "! "...)
		}
		dst = append(dst, line...)
	}
	return dst
}

func ExampleRun() {
	stdin := strings.NewReader("Accepted password for alice\nFailed password for root\n")
	stats, err := filter.Run(context.Background(), source.Open(nil, stdin), os.Stdout,
		func() filter.Worker { return marker{} },
		filter.Options{Failed: func(err error) { fmt.Println(err) }})
	fmt.Println(stats.Lines, "in,", stats.LinesOut, "out,", err)
	// Output:
	// Accepted password for alice
	// ! Failed password for root
	// 2 in, 2 out, <nil>
}
