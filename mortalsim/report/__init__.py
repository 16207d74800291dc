"""What a run leaves for its reader: results as data, and the table, the plots and the HTML page made from them."""
