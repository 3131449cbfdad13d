//! The ray tracer on the heap: the scene is read by all stations, and each tile of the image is an
//! activity.
//!
//! ```text
//!  root "raytrace" ─► Picture ─► SharedScene ─► spheres, triangles, nodes, …   (read by all)
//!                        │
//!                        └─► slots: one a tile ─► its pixels                   (written once)
//! ```
//!
//! A tile is rendered within one transaction that only reads, straight from the heap. Its pixels
//! and its end are written by another one, so they are there together. If a station dies in
//! between, another one renders the same tile to the same bytes.

use std::ffi::OsStr;
use std::path::PathBuf;

use plurix::activity::{Activity, Done, Work};
use plurix::{Ptr, Result, Station, Transaction, plain};
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

use super::scene::Camera;
use super::shared_scene::SharedScene;
use super::{Canvas, Pixel, RenderOptions, Scene, Tile, balls, nff, obj, png, render_tile, tiles};
use crate::app::{App, AppError, Progress, Report};
use crate::output::{check_file, write_file};
use crate::run::{self, Fingerprint, Run};

/// Tiles spawned by one transaction.
const SPAWN_BATCH: usize = 256;
/// Side of the generated scene's image, unless another is asked for.
const BALLS_SIDE: u32 = 960;

/// Options of the ray tracer.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = "Examples:
  plurix run raytrace --stations 3 --kill 2@1s --out balls.png
  plurix run raytrace --stations 2 --size 5 --width 640 --height 480 --samples 1 --out small.png
  plurix run raytrace --stations 4 --scene teapot.nff --out teapot.png
  plurix run raytrace --stations 4 --scene bunny.obj --width 1200 --height 1200 --out bunny.png")]
pub struct Options {
    /// Scene file in Neutral File Format (.nff) or Wavefront OBJ (.obj); without one, the
    /// sphereflake "balls" is generated
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    pub scene: Option<PathBuf>,
    /// Generations of smaller spheres on the sphereflake, 0 to 5: 1, 10, 91, 820, 7381 or 66430
    /// spheres
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub size: u32,
    /// Width of the image in pixels [default: that of the scene; 960 for balls]
    #[arg(long, value_name = "PIXELS")]
    pub width: Option<u32>,
    /// Height of the image in pixels [default: that of the scene; 960 for balls]
    #[arg(long, value_name = "PIXELS")]
    pub height: Option<u32>,
    /// Rays per pixel along each axis, 1 to 32; more smooth the edges
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub samples: u32,
    /// Side of a tile in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(8..=512))]
    pub tile: u32,
    /// Where to put the image, as PNG
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

impl Options {
    /// The defaults, with the image in `out`.
    #[must_use]
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            scene: None,
            size: 4,
            width: None,
            height: None,
            samples: 3,
            tile: 32,
            out: out.into(),
        }
    }
}

/// The ray tracer as an application.
#[derive(Debug)]
pub struct Raytrace {
    scene: Scene,
    options: RenderOptions,
    tile: u32,
    out: PathBuf,
}

/// What the heap holds of a run.
#[plain]
struct Picture {
    fingerprint: Fingerprint,
    scene: SharedScene,
    slots: Ptr<[Slot]>,
    options: RenderOptions,
    /// How many of the slots have their activity. The scene is complete before the first has.
    spawned: u64,
}

impl Run for Picture {
    const NAME: &'static str = "raytrace";

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// The place of a tile. Each has its own pixels, so that no two stations write to one page.
#[plain]
struct Slot {
    tile: Tile,
    pixels: Ptr<[Pixel]>,
    /// 1 once the pixels are there.
    is_rendered: u64,
}

/// Enables a station to render tiles.
pub fn register(station: &mut Station) {
    station.register::<RenderTile>();
}

/// The activity that renders one tile.
struct RenderTile;

#[plain]
struct TileJob {
    picture: Ptr<Picture>,
    slot: Ptr<Slot>,
}

impl Activity for RenderTile {
    const NAME: &'static str = "raytrace.tile";
    type Argument = TileJob;
    type Output = ();

    fn run(mut work: Work<'_, Self>, job: TileJob) -> Result<Done<Self>> {
        let (slot, pixels) = work.transaction(|tx| {
            let picture = tx.get(job.picture)?;
            let slot = *tx.get(job.slot)?;
            let scene = picture.scene.view(tx)?;
            let pixels = render_tile(&scene, slot.tile, picture.options);
            Ok((slot, pixels.map_err(|error| tx.abort(error))?))
        })?;
        work.complete(|tx| {
            tx.set_slice(slot.pixels, &pixels)?;
            tx.set(
                job.slot,
                Slot {
                    is_rendered: 1,
                    ..slot
                },
            )
        })
    }
}

impl Raytrace {
    /// Reads or generates the scene.
    ///
    /// # Errors
    /// [`AppError`] if a file gives no scene, that of the image cannot be written, or an option is
    /// out of range.
    pub fn new(options: Options) -> Result<Self, AppError> {
        let render = RenderOptions {
            samples: options.samples,
            ..RenderOptions::default()
        };
        render.check()?;
        let mut scene = load(&options)?;
        let camera = Camera {
            width: options.width.unwrap_or(scene.camera().width),
            height: options.height.unwrap_or(scene.camera().height),
            ..*scene.camera()
        };
        scene.set_camera(camera)?;
        check_file(&options.out)?;
        Ok(Self {
            scene,
            options: render,
            tile: options.tile,
            out: options.out,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let parts = self.scene.parts();
        run::fingerprint([
            self.options.as_bytes(),
            self.tile.as_bytes(),
            parts.header.as_bytes(),
            parts.materials.as_bytes(),
            parts.spheres.as_bytes(),
            parts.triangles.as_bytes(),
            parts.planes.as_bytes(),
            parts.lights.as_bytes(),
            parts.nodes.as_bytes(),
        ])
    }

    fn tiles(&self) -> Vec<Tile> {
        let Camera { width, height, .. } = *self.scene.camera();
        tiles(width, height, self.tile).collect()
    }

    fn write(&self, canvas: &Canvas) -> Result<(), AppError> {
        write_file(&self.out, |out| png::write(out, canvas).map_err(Into::into))
    }
}

/// The scene that the options name.
fn load(options: &Options) -> Result<Scene, AppError> {
    let Some(path) = &options.scene else {
        let mut scene = balls::scene(options.size)?;
        let (width, height) = (BALLS_SIDE, BALLS_SIDE);
        scene.set_camera(Camera {
            width,
            height,
            ..*scene.camera()
        })?;
        return Ok(scene);
    };
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "nff" => Ok(nff::load(path)?),
        "obj" => Ok(obj::load(path)?),
        _ => Err(AppError::Input(format!(
            "{}: a scene file's name ends with .nff or .obj",
            path.display()
        ))),
    }
}

impl App for Raytrace {
    fn register(&self, station: &mut Station) {
        register(station);
    }

    fn setup(&mut self, station: &mut Station) -> Result<(), AppError> {
        let (parts, tiles) = (self.scene.parts(), self.tiles());
        let fingerprint = self.fingerprint();
        let (ptr, picture) = run::open(station, fingerprint, |tx| {
            Ok(Picture {
                fingerprint,
                scene: SharedScene::allocate(tx, &parts)?,
                slots: tx.alloc_slice(tiles.len())?,
                options: self.options,
                spawned: 0,
            })
        })?;
        if picture.spawned == 0 {
            picture.scene.fill(station, &parts)?;
        }
        while station.transaction(|tx| spawn_some(tx, ptr, &tiles))? {}
        Ok(())
    }

    fn progress(&mut self, station: &mut Station) -> Result<Progress, AppError> {
        run::check_failures(station)?;
        Ok(station.transaction(|tx| {
            let slots = tx.get(run::find::<Picture>(tx)?.slots)?;
            let done = slots.iter().filter(|slot| slot.is_rendered != 0).count() as u64;
            Ok(Progress {
                done,
                total: slots.len() as u64,
                unit: "tiles",
            })
        })?)
    }

    fn finish(&mut self, station: &mut Station) -> Result<Report, AppError> {
        station.latest()?;
        let camera = self.scene.camera();
        let Some(canvas) = station.transaction(|tx| assemble(tx, camera))? else {
            return Err(AppError::Unfinished { app: Picture::NAME });
        };
        self.write(&canvas)?;
        let parts = self.scene.parts();
        let checksum = Sha256::digest(canvas.pixels().as_flattened());
        let report = Report {
            facts: Vec::new(),
            verified: true,
        };
        Ok(report
            .with("image", self.out.display().to_string())
            .with("pixels", canvas.pixels().len())
            .with("tiles", self.tiles().len())
            .with("spheres", parts.spheres.len())
            .with("triangles", parts.triangles.len())
            .with(
                "sha256",
                checksum
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
            ))
    }
}

/// Spawns the activities of the next tiles; answers whether there may be more.
fn spawn_some(tx: &mut Transaction<'_>, picture: Ptr<Picture>, tiles: &[Tile]) -> Result<bool> {
    let Picture { slots, spawned, .. } = *tx.get(picture)?;
    let batch = tiles
        .iter()
        .enumerate()
        .skip(spawned as usize)
        .take(SPAWN_BATCH);
    let spawning = batch.len() as u64;
    for (index, &tile) in batch {
        let slot = run::element(slots, index)?;
        let pixels = tx.alloc_slice(tile.pixels())?;
        tx.set(
            slot,
            Slot {
                tile,
                pixels,
                is_rendered: 0,
            },
        )?;
        tx.spawn::<RenderTile>(TileJob { picture, slot })?;
    }
    tx.get_mut(picture)?.spawned += spawning;
    Ok(spawning > 0)
}

/// Puts the image together; `None` if a tile is missing.
fn assemble(tx: &Transaction<'_>, camera: &Camera) -> Result<Option<Canvas>> {
    let mut canvas = Canvas::new(camera.width, camera.height);
    for slot in tx.get(run::find::<Picture>(tx)?.slots)? {
        if slot.is_rendered == 0 {
            return Ok(None);
        }
        canvas.put(slot.tile, tx.get(slot.pixels)?);
    }
    Ok(Some(canvas))
}
