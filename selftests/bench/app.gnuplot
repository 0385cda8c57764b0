# SPDX-License-Identifier: BSD-2-Clause
# Draws app.svg. Called by: bench_app, with data and picture set.
set terminal svg size 1100,900 dynamic background rgb "white" font "sans-serif,13"
set output picture
set multiplot layout 2,2 title "Application policy: what it costs, and the paper's file transfers"
set style data histograms
set style fill solid 0.85 noborder
set boxwidth 0.75
set grid ytics lc rgb "#dddddd"
set yrange [0:*]
set key outside bottom center horizontal

set style histogram rowstacked
set ylabel "us per TCP connection"
do for [way=0:1] {
	set title way == 0 ? "by loopback" : "over the wire (veth)"
	plot data index way using 2:xtic(1) title "socket()" lc rgb "#777777", \
		"" index way using 3 title "connect()" lc rgb "#1f5fbf", \
		"" index way using 4 title "close()" lc rgb "#1b7f3b"
}

set style histogram clustered gap 1
set ylabel "time, sftp = 1"
set xtics rotate by -35 noenhanced
set datafile missing "-"
do for [size=0:1] {
	set title size == 0 ? "many small files" : "one large file"
	plot data index 2 + size using 2:xtic(1) title "here" lc rgb "#1f5fbf", \
		"" index 2 + size using 3 title "the paper" lc rgb "#bbbbbb"
}
unset multiplot
