//! The pictures, as SVG.

use crate::record::{Curves, Parallel, Peers, Point, Speedups, Sweep, Way};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);
/// Told apart by readers with any colour vision (Okabe and Ito 2008); black is gradix, where it is beside others.
const COLOURS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(150, 150, 150),
    RGBColor(90, 60, 30),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A row of a dot plot: its label, and where each series stands.
type DotRow = (String, Vec<(usize, f64)>);

struct Dots<'a> {
    title: &'a str,
    subtitle: String,
    axis: &'a str,
    series: &'a [(String, RGBColor)],
    rows: &'a [DotRow],
    range: (f64, f64),
    logarithmic: bool,
    /// Where a line is drawn, and what it is.
    mark: (f64, &'a str),
    suffix: &'a str,
}

/// Rows of dots: what a bar chart shows, without the bars.
fn dots(plot: &Dots) -> String {
    let (label_width, top, bottom, step) = (330, 96, 56, 25);
    let height = top + bottom + step * plot.rows.len() as i32;
    let (width, right) = (1080, 30);
    draw((width as u32, height as u32), |area| {
        title(area, plot.title, &plot.subtitle);
        legend(area, 64, plot.series);
        let (low, high) = plot.range;
        let place = |x: f64| {
            let share =
                if plot.logarithmic { (x / low).ln() / (high / low).ln() } else { (x - low) / (high - low) };
            label_width + (share.clamp(0.0, 1.0) * f64::from(width - right - label_width)) as i32
        };
        let y_of = |row: usize| top + step / 2 + step * row as i32;
        let foot = top + step * plot.rows.len() as i32;
        for x in ticks(low, high, plot.logarithmic) {
            line(area, [(place(x), top - 4), (place(x), foot)], FAINT, 1);
            let label = format!("{}{}", number(if plot.suffix == " %" { x * 100.0 } else { x }), plot.suffix);
            text(area, &label, (place(x), foot + 6), 13, INK, (HPos::Center, VPos::Top));
        }
        text(area, plot.axis, ((label_width + width) / 2, foot + 28), 14, INK, (HPos::Center, VPos::Top));
        line(area, [(place(plot.mark.0), top - 8), (place(plot.mark.0), foot)], INK, 2);
        text(area, plot.mark.1, (place(plot.mark.0), top - 9), 12, INK, (HPos::Center, VPos::Bottom));
        for (i, (label, points)) in plot.rows.iter().enumerate() {
            text(area, label, (label_width - 12, y_of(i)), 14, INK, (HPos::Right, VPos::Center));
            let (first, last) =
                (points.iter().map(|p| place(p.1)).min(), points.iter().map(|p| place(p.1)).max());
            if let (Some(first), Some(last)) = (first, last) {
                line(area, [(first, y_of(i)), (last, y_of(i))], RGBColor(190, 190, 190), 1);
            }
            for &(series, x) in points {
                let dot = Circle::new((place(x), y_of(i)), 6, plot.series[series].1.filled());
                area.draw(&dot).expect("a dot");
            }
        }
    })
}

/// Its name in the legend, its colour, whether it is dashed (and then without a name), and its points.
type Line = (String, RGBColor, bool, Vec<(f64, f64)>);

/// The size of a picture of [`Lines`].
const LINES: (u32, u32) = (1080, 620);

/// Lines over a logarithmic or linear axis.
struct Lines<'a> {
    title: &'a str,
    subtitle: String,
    x_axis: &'a str,
    y_axis: &'a str,
    lines: Vec<Line>,
    /// Where a vertical line is drawn, and what it is.
    marks: Vec<(f64, String)>,
}

fn lines<X>(area: &Area, plot: &Lines, x: X, x_label: &dyn Fn(&f64) -> String)
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let ys = || plot.lines.iter().flat_map(|line| line.3.iter().map(|p| p.1));
    let (low, high) = (ys().fold(f64::INFINITY, f64::min) / 1.3, ys().fold(0.0, f64::max) * 1.5);
    title(area, plot.title, &plot.subtitle);
    let named: Vec<(String, RGBColor)> =
        plot.lines.iter().filter(|line| !line.2).map(|line| (line.0.clone(), line.1)).collect();
    legend(area, 64, &named);
    let body = area.margin(84, 10, 10, 24);
    let mut chart = ChartBuilder::on(&body)
        .x_label_area_size(54)
        .y_label_area_size(70)
        .build_cartesian_2d(x, (low..high).log_scale())
        .expect("axes");
    chart
        .configure_mesh()
        .x_desc(plot.x_axis)
        .y_desc(plot.y_axis)
        .x_label_formatter(x_label)
        .y_label_formatter(&|y| number(*y))
        .x_labels(20)
        .label_style((FONT, 14, &INK))
        .axis_desc_style((FONT, 15, &INK))
        .bold_line_style(FAINT)
        .light_line_style(WHITE)
        .draw()
        .expect("a mesh");
    for (at, name) in &plot.marks {
        let foot_and_head = vec![(*at, low), (*at, high)];
        chart.draw_series(LineSeries::new(foot_and_head, INK.mix(0.5))).expect("a mark");
        let style = (FONT, 14).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
        let label = EmptyElement::at((*at, high)) + Text::new(name.clone(), (5, 4), style);
        chart.draw_series([label]).expect("a label");
    }
    for (_, colour, dashed, points) in &plot.lines {
        let style = colour.stroke_width(if *dashed { 2 } else { 3 });
        if *dashed {
            chart.draw_series(DashedLineSeries::new(points.iter().copied(), 5, 5, style)).expect("a line");
        } else {
            chart.draw_series(LineSeries::new(points.iter().copied(), style)).expect("a line");
            let dots = points.iter().map(|&at| Circle::new(at, 3, colour.filled()));
            chart.draw_series(dots).expect("points");
        }
    }
}

/// The speedup of every case at every level.
pub fn speedups(speedups: &Speedups) -> String {
    let best = format!("{} (best)", speedups.machine.best_level);
    let all = format!("{}, {} threads", speedups.machine.best_level, speedups.machine.cpus);
    let series = [
        ("portable".to_string(), COLOURS[6]),
        ("avx2".to_string(), COLOURS[1]),
        (best, COLOURS[0]),
        (all, COLOURS[2]),
    ];
    let series_of = |level: &str, threads: usize| match (level, threads) {
        ("portable", 1) => Some(0),
        ("avx2", 1) => Some(1),
        ("best", 1) => Some(2),
        ("best", _) => Some(3),
        _ => None,
    };
    let rows = rows(speedups, |level, threads| series_of(level, threads), |row| row.speedup.ratio.median);
    dots(&Dots {
        title: "Speedup over the loop that people write",
        subtitle: machine(&speedups.machine),
        axis: "times as fast as the plain loop on one thread",
        series: &series,
        rows: &rows,
        range: bounds(&rows, (0.5, 2.0)),
        logarithmic: true,
        mark: (1.0, "the loop"),
        suffix: "x",
    })
}

/// The part of the memory's limit that every case reaches.
pub fn limits(speedups: &Speedups) -> String {
    let all = format!("{} threads", speedups.machine.cpus);
    let series = [("one thread".to_string(), COLOURS[0]), (all, COLOURS[2])];
    let series_of = |level: &str, threads| (level == "best").then_some(usize::from(threads > 1));
    let mut rows = rows(speedups, series_of, |row| row.of_limit.ratio.median);
    for (label, _) in &mut rows {
        let limit =
            speedups.rows.iter().find(|row| label.starts_with(&shown(row))).map(|row| row.limit.clone());
        label.push_str(&format!("  ({})", limit.unwrap_or_default()));
    }
    let high = bounds(&rows, (0.0, 1.0)).1.min(1.6);
    dots(&Dots {
        title: "Part of what the memory allows",
        subtitle: machine(&speedups.machine),
        axis: "the time of a bare loop over the same bytes on the same threads, as a part of gradix's",
        series: &series,
        rows: &rows,
        range: (0.0, high),
        logarithmic: false,
        mark: (1.0, "the limit"),
        suffix: " %",
    })
}

/// Every library and case.
pub fn peers(peers: &Peers, threads: usize) -> String {
    let names = super::peer_names(&peers.rows);
    let series: Vec<(String, RGBColor)> =
        [("gradix".to_string(), BLACK)].into_iter().chain(names.iter().cloned().zip(COLOURS)).collect();
    let rows: Vec<DotRow> = peers
        .rows
        .iter()
        .filter(|row| row.threads == threads)
        .map(|row| {
            let place = |name: &str| series.iter().position(|(known, _)| known == name);
            let mut points: Vec<(usize, f64)> =
                row.peers.iter().filter_map(|peer| Some((place(&peer.name)?, peer.ratio.median))).collect();
            points.push((0, 1.0));
            (format!("{}  {}", row.case, row.id.replace(['/', '_'], " ")), points)
        })
        .collect();
    let threads = if threads == 1 { "one thread".to_string() } else { format!("{threads} threads") };
    dots(&Dots {
        title: "The same work by others",
        subtitle: format!("{threads}; {}", machine(&peers.machine)),
        axis: "time as a multiple of gradix's: to the right of the line, gradix is faster",
        series: &series,
        rows: &rows,
        range: bounds(&rows, (0.5, 2.0)),
        logarithmic: true,
        mark: (1.0, "gradix"),
        suffix: "x",
    })
}

/// The distribution of an operation's ratios: a dot for each shape that was drawn.
pub fn sweep(sweep: &Sweep) -> String {
    let series = [
        ("arrays below 32 KiB".to_string(), COLOURS[5]),
        ("below 1 MiB".to_string(), COLOURS[1]),
        ("below 32 MiB".to_string(), COLOURS[2]),
        ("larger".to_string(), COLOURS[0]),
    ];
    let series_of =
        |bytes: usize| [32 << 10, 1 << 20, 32 << 20].iter().filter(|&&most| bytes >= most).count();
    let operations = sweep.operations().into_iter();
    let rows: Vec<DotRow> = operations
        .map(|(op, rows)| {
            (op.to_string(), rows.iter().map(|row| (series_of(row.bytes), row.ratio)).collect())
        })
        .collect();
    dots(&Dots {
        title: "Shapes drawn from a seed, against plain loops",
        subtitle: format!("one thread, {} shapes; {}", sweep.rows.len(), machine(&sweep.machine)),
        axis: "times as fast as the plain loop",
        series: &series,
        rows: &rows,
        range: bounds(&rows, (0.5, 2.0)),
        logarithmic: true,
        mark: (1.0, "the loop"),
        suffix: "x",
    })
}

pub fn selectivity(curves: &Curves) -> String {
    let names = line_names(&curves.selectivity);
    let lines_of = names.iter().map(|name| {
        let colour = match name.as_str() {
            "portable" => COLOURS[6],
            "avx2" => COLOURS[1],
            "plain loop" => COLOURS[3],
            "read-only sum" | "sum and store" => COLOURS[2],
            _ => COLOURS[0],
        };
        (name.clone(), colour, false, points(&curves.selectivity, name))
    });
    let plot = Lines {
        title: "What the share of hits costs",
        subtitle: format!("indices above a threshold, 1M f32, one thread; {}", machine(&curves.machine)),
        x_axis: "elements selected, %",
        y_axis: "ns per element",
        lines: lines_of.collect(),
        marks: Vec::new(),
    };
    draw(LINES, |area| lines(area, &plot, 0.0..100.0, &|x| format!("{x:.0}")))
}

pub fn sizes(curves: &Curves) -> String {
    let mut drawn = Vec::new();
    let mut colours = COLOURS.iter();
    for name in line_names(&curves.sizes) {
        if let Some(op) = name.strip_suffix("/gradix") {
            let colour = *colours.next().unwrap_or(&INK);
            drawn.push((op.to_string(), colour, false, points(&curves.sizes, &name)));
            drawn.push((String::new(), colour, true, points(&curves.sizes, &format!("{op}/limit"))));
        }
    }
    let marks = curves.machine.caches.iter().map(|(name, bytes)| (*bytes as f64, name.clone()));
    let plot = Lines {
        title: "From the first cache to memory",
        subtitle: format!(
            "f32, one thread; dashed: the limit of the same colour; {}",
            machine(&curves.machine)
        ),
        x_axis: "bytes read and written",
        y_axis: "ns per element",
        lines: drawn,
        marks: marks.collect(),
    };
    let range = (1024.0..f64::from(1 << 29)).log_scale().base(2.0);
    let label = |x: &f64| match *x {
        x if x >= 1048576.0 => format!("{:.0} MiB", x / 1048576.0),
        x => format!("{:.0} KiB", x / 1024.0),
    };
    draw(LINES, |area| lines(area, &plot, range, &label))
}

/// What more threads give each operation at each size: a column for each family, a row for each way of calling.
pub fn parallel(parallel: &Parallel) -> String {
    let panel = |op: &str| match op {
        op if op.starts_with("softmax_xent") => 2,
        op if ["take", "pick", "scatter"].iter().any(|start| op.starts_with(start)) => 0,
        _ => 1,
    };
    let families = ["Gather and scatter", "Select", "Softmax cross-entropy"];
    let (columns, rows) = (families.len(), Way::ALL.len());
    let (width, height) = LINES;
    draw((width * columns as u32, height * rows as u32), |area| {
        for (place, area) in area.split_evenly((rows, columns)).iter().enumerate() {
            let (way, family) = (Way::ALL[place / columns], place % columns);
            let mut drawn: Vec<Line> = Vec::new();
            for row in parallel.rows.iter().filter(|row| panel(&row.op) == family && row.way == way) {
                let name = row.op.trim_start_matches("softmax_xent, ").to_string();
                if drawn.last().is_none_or(|line| line.0 != name) {
                    drawn.push((name, COLOURS[drawn.len() % COLOURS.len()], false, Vec::new()));
                }
                drawn.last_mut().expect("a line").3.push((row.elements as f64, row.ratio.median));
            }
            drawn.push((String::new(), INK, true, vec![(8.0, 1.0), (f64::from(1 << 25), 1.0)]));
            let plot = Lines {
                title: &format!("{}: all threads against one, {}", families[family], way.name()),
                subtitle: format!("f32; {}", machine(&parallel.machine)),
                x_axis: "elements",
                y_axis: "times as fast as one thread",
                lines: drawn,
                marks: Vec::new(),
            };
            let range = (8.0..f64::from(1 << 25)).log_scale().base(2.0);
            let label = |x: &f64| match *x {
                x if x >= 1048576.0 => format!("{:.0}M", x / 1048576.0),
                x if x >= 1024.0 => format!("{:.0}K", x / 1024.0),
                x => format!("{x:.0}"),
            };
            lines(area, &plot, range, &label);
        }
    })
}

fn machine(machine: &crate::machine::Machine) -> String {
    format!("{}, {} CPUs", machine.cpu, machine.cpus)
}

fn shown(row: &crate::record::Row) -> String {
    format!("{} {} {}", row.op, row.dtype, row.shape).replace('_', " ")
}

/// The cases as rows of dots.
fn rows(
    speedups: &Speedups,
    series: impl Fn(&str, usize) -> Option<usize>,
    figure: impl Fn(&crate::record::Row) -> f64,
) -> Vec<DotRow> {
    let mut rows: Vec<DotRow> = Vec::new();
    for row in &speedups.rows {
        let Some(series) = series(&row.level, row.threads) else { continue };
        let label = shown(row);
        let point = (series, figure(row));
        match rows.iter_mut().find(|(known, _)| *known == label) {
            Some((_, points)) => points.push(point),
            None => rows.push((label, vec![point])),
        }
    }
    rows.iter_mut().for_each(|(_, points)| points.sort_by_key(|point| point.0));
    rows
}

/// A range that holds all dots and at least this one.
fn bounds(rows: &[DotRow], (low, high): (f64, f64)) -> (f64, f64) {
    let all = || rows.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
    (all().fold(low, f64::min) * 0.95, all().fold(high, f64::max) * 1.08)
}

fn line_names(points: &[Point]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for point in points {
        if !names.contains(&point.line) {
            names.push(point.line.clone());
        }
    }
    names
}

fn points(points: &[Point], line: &str) -> Vec<(f64, f64)> {
    points.iter().filter(|point| point.line == line).map(|point| (point.x, point.y)).collect()
}

fn ticks(low: f64, high: f64, logarithmic: bool) -> Vec<f64> {
    let nice: Vec<f64> = if logarithmic {
        let decades = (-4..6).map(|decade| 10f64.powi(decade));
        decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * decade)).collect()
    } else {
        (0..=20).map(|step| f64::from(step) / 5.0).collect()
    };
    nice.into_iter().filter(|x| (low..=high).contains(x)).collect()
}

fn number(x: f64) -> String {
    let digits = if x >= 10.0 || x == x.round() { 0 } else { (1.0 - x.log10().floor()) as usize };
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn draw(size: (u32, u32), f: impl FnOnce(&Area)) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).expect("a background");
        f(&area);
        area.present().expect("a picture");
    }
    svg
}

fn title(area: &Area, title: &str, subtitle: &str) {
    text(area, title, (20, 14), 22, INK, (HPos::Left, VPos::Top));
    text(area, subtitle, (20, 41), 13, RGBColor(110, 110, 110), (HPos::Left, VPos::Top));
}

fn legend(area: &Area, y: i32, series: &[(String, RGBColor)]) {
    let mut x = 26;
    for (name, colour) in series {
        area.draw(&Circle::new((x, y + 7), 6, colour.filled())).expect("a dot");
        text(area, name, (x + 12, y + 7), 14, INK, (HPos::Left, VPos::Center));
        x += 40 + 7 * name.chars().count() as i32;
    }
}

fn text(area: &Area, what: &str, at: (i32, i32), size: i32, colour: RGBColor, (h, v): (HPos, VPos)) {
    let style = (FONT, size).into_font().color(&colour).pos(Pos::new(h, v));
    area.draw(&Text::new(what.to_string(), at, style)).expect("a text");
}

fn line(area: &Area, ends: [(i32, i32); 2], colour: RGBColor, width: u32) {
    area.draw(&PathElement::new(ends.to_vec(), colour.stroke_width(width))).expect("a line");
}
