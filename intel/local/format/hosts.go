package format

import (
	"bufio"
	"errors"
	"slices"
	"strings"

	"iocpipe/intel"
)

// blockingAddresses are those to which a hosts file sends what it blocks.
var blockingAddresses = []string{"0.0.0.0", "127.0.0.1", "::", "::1", "0", "127.0.1.1"}

// readHosts reads a hosts file that blocks names, as adblockers take it.
func (l *list) readHosts(in *bufio.Reader) error {
	listed := l.statement(malicious, intel.Report{})
	return l.eachLine(in, func(line []byte) error {
		if len(line) > maxListLine {
			l.refuse(string(line[:maxListLine]), errTooLong)
			return nil
		}
		text, _, _ := strings.Cut(string(line), "#")
		words := strings.Fields(text)
		switch {
		case len(words) == 0:
			return nil
		case !slices.Contains(blockingAddresses, words[0]):
			if !systemName(words[len(words)-1]) {
				l.refuse(text, errNotBlocking)
			}
			return nil
		}
		for _, name := range words[1:] {
			if systemName(name) {
				continue
			}
			if err := l.addTyped(name, aDomain, listed); err != nil {
				return err
			}
		}
		return nil
	})
}

var errNotBlocking = errors.New("not a blocking entry: those begin with 0.0.0.0, 127.0.0.1, :: or ::1")

// systemName reports whether a name in a hosts file is there for the system's own sake.
func systemName(name string) bool {
	return strings.HasPrefix(name, "localhost") || strings.HasPrefix(name, "ip6-") || name == "broadcasthost" ||
		name == "local" || name == "0.0.0.0"
}
