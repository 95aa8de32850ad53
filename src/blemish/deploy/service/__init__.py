"""`blemish serve`: inspection, generation and the studio over HTTP."""
