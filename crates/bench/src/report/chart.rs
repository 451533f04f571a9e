//! Charts as SVG: lines with a label at each line's end, and rows of dots. Colours come from the page's style sheet.

use std::fmt::Write;

use super::figures::number;

const WIDTH: f64 = 650.0;
const HEIGHT: f64 = 360.0;
/// Room next to the axes: the ticks and titles, and the lines' labels.
const LEFT: f64 = 74.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 52.0;
/// Minimum distance of two lines of text.
const LINE: f64 = 15.0;

/// Number of colours in the style sheet.
pub(crate) const COLOURS: usize = 8;

/// An axis, from its first tick to its last.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    title: String,
    scale: Scale,
    ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy, Debug)]
enum Scale {
    Log,
    /// So that 90, 99 and 99.9 are equally far apart.
    Nines,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Log => value.max(1e-9).log10(),
            Self::Nines => -(1.0 - value.clamp(0.0, 99.999) / 100.0).log10(),
        }
    }
}

impl Axis {
    /// A logarithmic axis that has these values on it.
    pub(crate) fn log(title: &str, values: impl Iterator<Item = f64>, format: fn(f64) -> String) -> Self {
        let values = values.filter(|value| *value > 0.0);
        let (low, high) = values.fold((f64::MAX, 0.0_f64), |(low, high), one| (low.min(one), high.max(one)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let ticks = log_ticks(low, high).into_iter().map(|tick| (tick, format(tick))).collect();
        Self { title: title.to_owned(), scale: Scale::Log, ticks }
    }

    /// A logarithmic axis with ticks at these values and no others.
    pub(crate) fn counts(title: &str, counts: &[usize]) -> Self {
        let ticks = counts.iter().map(|count| (*count as f64, count.to_string())).collect();
        Self { title: title.to_owned(), scale: Scale::Log, ticks }
    }

    /// Percentiles up to this one.
    pub(crate) fn percentiles(title: &str, last: f64) -> Self {
        const TICKS: [f64; 7] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
        // The first tick that nothing goes beyond is the last.
        let count = TICKS.iter().position(|tick| *tick >= last).map_or(TICKS.len(), |place| place + 1);
        let tick = |tick: &f64| (*tick, if *tick == 0.0 { "min".to_owned() } else { format!("{tick} %") });
        Self {
            title: title.to_owned(),
            scale: Scale::Nines,
            ticks: TICKS[..count].iter().map(tick).collect(),
        }
    }

    /// Position of a value on the axis, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let ends = self.ticks.first().zip(self.ticks.last());
        let (low, high) = ends.map_or((0.0, 1.0), |(low, high)| (low.0, high.0));
        let (low, high) = (self.scale.place(low), self.scale.place(high));
        if high > low { ((self.scale.place(value) - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// At 1, 2 and 5 of each power of ten while these are few, or else at the powers; from below the least to above the
/// largest.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    const DECADES_WITH_STEPS: f64 = 2.2;
    let steps: &[f64] = if (high / low).log10() <= DECADES_WITH_STEPS { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let all: Vec<f64> =
        (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power))).collect();
    let from = all.iter().rposition(|tick| *tick <= low * 1.000_1).unwrap_or(0);
    let to = all.iter().position(|tick| *tick >= high * 0.999_9).unwrap_or(all.len() - 1);
    // One tick alone is no axis.
    let to = to.max(from + 1).min(all.len() - 1);
    all[from.min(to - 1)..=to].to_vec()
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Which of the style sheet's colours.
    pub(crate) colour: usize,
    /// For what is no serious choice.
    pub(crate) dashed: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over two axes. `about` is the text for screen readers.
pub(crate) fn lines(about: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let at = |(point_x, point_y): (f64, f64)| {
        (LEFT + x.part(point_x) * (right - LEFT), bottom - y.part(point_y) * (bottom - TOP))
    };
    let mut svg = opened(about, HEIGHT);
    for (tick, label) in &y.ticks {
        let place = at((0.0, *tick)).1;
        put(
            &mut svg,
            format_args!("<line class='grid' x1='{LEFT}' x2='{right}' y1='{place:.1}' y2='{place:.1}'/>"),
        );
        put(
            &mut svg,
            format_args!("<text class='tick end' x='{}' y='{:.1}'>{label}</text>", LEFT - 8.0, place + 4.0),
        );
    }
    for (order, (tick, label)) in x.ticks.iter().enumerate() {
        let place = LEFT + x.part(*tick) * (right - LEFT);
        // If the first two are close, the first one's label makes room.
        let next = x.ticks.get(order + 1).map_or(f64::MAX, |(next, _)| x.part(*next) * (right - LEFT));
        let (anchor, aside) = if order == 0 && next < 3.0 * LINE { ("end", 8.0) } else { ("mid", 0.0) };
        put(
            &mut svg,
            format_args!(
                "<line class='axis' x1='{place:.1}' x2='{place:.1}' y1='{bottom}' y2='{}'/>",
                bottom + 5.0
            ),
        );
        put(
            &mut svg,
            format_args!(
                "<text class='tick {anchor}' x='{:.1}' y='{}'>{label}</text>",
                place + aside,
                bottom + 19.0
            ),
        );
    }
    put(&mut svg, format_args!("<line class='axis' x1='{LEFT}' x2='{right}' y1='{bottom}' y2='{bottom}'/>"));
    let (middle_x, middle_y) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
    put(
        &mut svg,
        format_args!(
            "<text class='title mid' x='{middle_x}' y='{}'>{}</text>",
            HEIGHT - 10.0,
            escaped(&x.title)
        ),
    );
    put(
        &mut svg,
        format_args!(
            "<text class='title mid' transform='translate(14 {middle_y}) rotate(-90)'>{}</text>",
            escaped(&y.title)
        ),
    );
    for one in series {
        let points: Vec<(f64, f64)> = one.points.iter().map(|point| at(*point)).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dashed = if one.dashed { " dashed" } else { "" };
        let class = one.colour % COLOURS;
        put(&mut svg, format_args!("<polyline class='line c{class}{dashed}' points='{}'/>", path.join(" ")));
        for point in points {
            svg.push_str(&marker(one.colour, point));
        }
    }
    labels(&mut svg, series, &|point| at(point), right);
    svg.push_str("</svg>\n");
    svg
}

/// Each line's name, as near to its end as there is room.
fn labels(svg: &mut String, series: &[Series], at: &dyn Fn((f64, f64)) -> (f64, f64), right: f64) {
    let mut ends: Vec<(&Series, (f64, f64), f64)> =
        series.iter().filter_map(|one| one.points.last().map(|last| (one, at(*last), at(*last).1))).collect();
    ends.sort_by(|(_, _, one), (_, _, other)| one.total_cmp(other));
    let mut above = TOP - LINE / 2.0;
    for (_, _, place) in &mut ends {
        *place = place.max(above + LINE);
        above = *place;
    }
    let mut below = HEIGHT - BOTTOM + LINE;
    for (_, _, place) in ends.iter_mut().rev() {
        *place = place.min(below - LINE);
        below = *place;
    }
    for (one, (end_x, end_y), place) in ends {
        let (from, class) = (right + 12.0, one.colour % COLOURS);
        put(
            svg,
            format_args!(
                "<polyline class='leader c{class}' points='{:.1},{end_y:.1} {from:.1},{place:.1} {:.1},{place:.1}'/>",
                end_x + 5.0,
                from + 4.0
            ),
        );
        svg.push_str(&marker(one.colour, (from + 9.0, place)));
        put(
            svg,
            format_args!(
                "<text class='label' x='{:.1}' y='{:.1}'>{}</text>",
                from + 18.0,
                place + 4.0,
                escaped(&one.name)
            ),
        );
    }
}

/// Colour is not the only thing that tells lines apart.
fn marker(colour: usize, (x, y): (f64, f64)) -> String {
    let class = format!("class='mark c{}'", colour % COLOURS);
    match colour % 4 {
        0 => format!("<circle {class} cx='{x:.1}' cy='{y:.1}' r='3.6'/>"),
        1 => format!("<rect {class} x='{:.1}' y='{:.1}' width='6.4' height='6.4'/>", x - 3.2, y - 3.2),
        2 => format!("<path {class} d='M{x:.1} {:.1}l4.4 7.6h-8.8z'/>", y - 4.6),
        _ => format!("<path {class} d='M{x:.1} {:.1}l4.6 4.6l-4.6 4.6l-4.6 -4.6z'/>", y - 4.6),
    }
}

/// A row of a dot chart.
#[derive(Clone, Debug)]
pub(crate) struct Dot {
    pub(crate) name: String,
    pub(crate) colour: usize,
    pub(crate) value: f64,
    pub(crate) text: String,
}

/// Names with a dot each, on a logarithmic axis, with the value next to the dot.
pub(crate) fn dots(about: &str, title: &str, dots: &[Dot]) -> String {
    const ROW: f64 = 22.0;
    const NAMES: f64 = 178.0;
    const FIGURES: f64 = 110.0;
    let axis = Axis::log(title, dots.iter().map(|dot| dot.value), number);
    let bottom = TOP + ROW * dots.len() as f64;
    let right = WIDTH - FIGURES;
    let mut svg = opened(about, bottom + BOTTOM);
    for (tick, label) in &axis.ticks {
        let place = NAMES + axis.part(*tick) * (right - NAMES);
        put(
            &mut svg,
            format_args!("<line class='grid' x1='{place:.1}' x2='{place:.1}' y1='{TOP}' y2='{bottom}'/>"),
        );
        put(
            &mut svg,
            format_args!("<text class='tick mid' x='{place:.1}' y='{}'>{label}</text>", bottom + 19.0),
        );
    }
    put(&mut svg, format_args!("<line class='axis' x1='{NAMES}' x2='{right}' y1='{bottom}' y2='{bottom}'/>"));
    put(
        &mut svg,
        format_args!(
            "<text class='title mid' x='{}' y='{}'>{}</text>",
            (NAMES + right) / 2.0,
            bottom + 42.0,
            escaped(title)
        ),
    );
    for (row, dot) in dots.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        let x = NAMES + axis.part(dot.value) * (right - NAMES);
        let class = dot.colour % COLOURS;
        put(
            &mut svg,
            format_args!(
                "<text class='label end' x='{}' y='{:.1}'>{}</text>",
                NAMES - 10.0,
                y + 4.0,
                escaped(&dot.name)
            ),
        );
        put(
            &mut svg,
            format_args!("<line class='stem c{class}' x1='{NAMES}' x2='{x:.1}' y1='{y:.1}' y2='{y:.1}'/>"),
        );
        svg.push_str(&marker(dot.colour, (x, y)));
        put(
            &mut svg,
            format_args!(
                "<text class='tick' x='{:.1}' y='{:.1}'>{}</text>",
                x + 10.0,
                y + 4.0,
                escaped(&dot.text)
            ),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn opened(about: &str, height: f64) -> String {
    let about = escaped(about);
    format!("<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{about}'>\n")
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a text never fails.
    writeln!(svg, "{what}").ok();
}

/// Escaped for HTML, in text and in attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\'' => safe.push_str("&#39;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_enclose_what_is_shown() {
        for (low, high) in [(3.0, 47.0), (1.0, 1.0), (150.0, 5_000.0), (0.9, 80_000.0), (20.0, 20.5)] {
            let ticks = log_ticks(low, high);
            assert!(ticks.len() >= 2, "{low} to {high}: {ticks:?}");
            assert!(
                ticks[0] <= low * 1.001 && *ticks.last().expect("two") >= high * 0.999,
                "{low} to {high}: {ticks:?}"
            );
        }
    }

    #[test]
    fn percentiles_are_as_far_apart_as_they_have_nines() {
        let axis = Axis::percentiles("", 99.9);
        let gap = |one, other| axis.part(other) - axis.part(one);
        assert!((gap(90.0, 99.0) - gap(99.0, 99.9)).abs() < 1e-9);
        assert_eq!(axis.ticks.last().map(|tick| tick.1.as_str()), Some("99.9 %"));
    }

    #[test]
    fn labels_never_lie_on_each_other() {
        let series: Vec<Series> = (0..7)
            .map(|one| Series {
                name: format!("s{one}"),
                colour: one,
                dashed: false,
                points: vec![(1.0, 10.0), (8.0, 10.0)],
            })
            .collect();
        let y = Axis::log("", [10.0, 100.0].into_iter(), number);
        let svg = lines("about", &Axis::counts("", &[1, 8]), &y, &series);
        let mut places: Vec<f64> = svg
            .lines()
            // A line may begin with the marker that stands before the name.
            .filter_map(|line| line.split_once("class='label'"))
            .filter_map(|(_, label)| label.split("y='").nth(1)?.split('\'').next()?.parse().ok())
            .collect();
        places.sort_by(f64::total_cmp);
        assert_eq!(places.len(), 7);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LINE - 0.2), "{places:?}");
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        assert_eq!(escaped("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
    }
}
