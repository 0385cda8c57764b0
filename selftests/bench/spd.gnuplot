# SPDX-License-Identifier: BSD-2-Clause
# Draws spd.svg. Called by: bench_spd, with data, picture and blocks (4 for each family) set.
set terminal svg size 900,560 dynamic background rgb "white" font "sans-serif,14"
set output picture
set title "A verdict of the SPD: worst of the kinds of rule sets; bars: from the best kind to the worst"
set logscale xy
set xlabel "rules"
set ylabel "ns per packet"
set format x "%.0s%c"
set format y "%.0s%c"
set xrange [6:180000]
set yrange [10:*]
set grid xtics ytics lc rgb "#dddddd"
set key outside right center spacing 1.3
colour(arm) = arm == 0 ? 0x777777 : arm == 1 ? 0x1b7f3b : arm == 2 ? 0x1f5fbf : 0xc0392b
family(i) = i < 4 ? 1 : 2
plot for [i=0:blocks-1] data index i using 1:2:3:4 with yerrorlines lw 2 pt 8 - family(i) ps 0.7 \
	dt family(i) lc rgb colour(i % 4) title columnheader(1)
