package format

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"

	"iocpipe/intel"
)

// readDROP reads the networks that Spamhaus says not to route, as text or as JSON lines, whose last tells how many they
// are. Source: https://www.spamhaus.org/drop/
func (l *list) readDROP(in *bufio.Reader) error {
	records, promised := 0, 0
	err := l.eachLine(in, func(line []byte) error {
		switch {
		case len(line) == 0 || line[0] == ';' || line[0] == '#':
			return nil
		case len(line) > maxListLine:
			l.refuse(string(line[:maxListLine]), errTooLong)
			return nil
		case line[0] != '{':
			network, id, _ := strings.Cut(string(line), ";")
			return l.addDROP(network, strings.TrimSpace(id))
		}
		var row struct {
			CIDR, SBLID, Type string
			ASN               json.RawMessage
			Records           int
		}
		err := json.Unmarshal(line, &row)
		if err == nil && row.Type == "metadata" {
			promised = row.Records
			return nil
		}
		records++
		switch {
		case err != nil:
			l.refuse(string(line), errNoRecord)
			return nil
		case row.CIDR == "" && row.ASN != nil:
			l.refuse(string(line), other("asn"))
			return nil
		}
		return l.addDROP(row.CIDR, row.SBLID)
	})
	if err == nil && promised > records {
		return fmt.Errorf("the list says it has %d records, and has %d: it was cut off", promised, records)
	}
	return err
}

func (l *list) addDROP(network, id string) error {
	r := intel.Report{}
	if number, ok := strings.CutPrefix(id, "SBL"); ok && isNumber(number) {
		r.Tags = []string{id}
		r.Permalink = "https://check.spamhaus.org/sbl/query/" + id
	}
	return l.addTyped(network, aNetwork|anIP, l.statement(malicious, r))
}
