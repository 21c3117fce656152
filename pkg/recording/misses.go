package recording

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/convert"
)

// Misses returns the requests that were missed in a replay, from its report in a file. Without a path there are none.
func Misses(path string) ([]*replay.Miss, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := convert.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var u replay.Usage
	if err := json.Unmarshal(data, &u); err != nil || u.Missed == nil {
		return nil, fmt.Errorf("%s is no report of a replay (replay --report FILE writes one)", path)
	}
	return u.Missed, nil
}
