// One GET of net/http: ask URL. Prints what came back or the error, and when.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	if answer, err := http.Get(os.Args[1]); err != nil {
		fmt.Println(err)
	} else {
		body, _ := io.ReadAll(answer.Body)
		fmt.Println(answer.StatusCode, string(body))
	}
	fmt.Printf("ended %.6f\n", float64(time.Now().UnixNano())/1e9)
}
