//! What both databases read alike: the same SQL, over one pool or another.

/// `impl Catalogue` with what is read written here and what the database does in a way of its own given: `$pool` and `$writer` are the
/// fields that readers and writers use, `$label` the columns `label` and `score` of a frame's likeliest class, `$ahead` which queued frames the queue
/// gives before the one of number `$1` that is live or not (`$2`), `$program` a program's id in hexadecimal and
/// `$index` a hint of the index for means over time.
macro_rules! catalogue {
    (
        $catalogue:ty, $database:ty, $pool:ident, $writer:ident,
        label: $label:literal, ahead: $ahead:literal, program: $program:literal, index: $index:literal,
        $($own:tt)*
    ) => {
        #[tonic::async_trait]
        impl $crate::catalogue::Catalogue for $catalogue {
            $($own)*

            async fn get(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
                let row: Option<FrameRow> =
                    sqlx::query_as("SELECT * FROM frames WHERE frame_id = $1")
                        .bind(id.as_bytes().as_slice())
                        .fetch_optional(&self.$pool)
                        .await?;
                row.map(Frame::try_from).transpose()
            }

            async fn list(&self, page: &Page) -> Result<Option<Vec<Frame>>, CatalogueError> {
                let Some(mut query) = self.page("*", page).await? else {
                    return Ok(None);
                };
                query
                    .push(" ORDER BY seq DESC LIMIT ")
                    .push_bind(i64::from(page.limit));
                let rows: Vec<FrameRow> = query.build_query_as().fetch_all(&self.$pool).await?;
                let frames: Result<Vec<_>, _> = rows.into_iter().map(Frame::try_from).collect();
                frames.map(Some)
            }

            async fn labels(&self, page: &Page) -> Result<Option<Vec<Seen>>, CatalogueError> {
                // Written by this service, most likely class first.
                let columns = concat!("frame_id, camera_id, captured_ms, ", $label);
                let Some(mut query) = self.page(columns, page).await? else {
                    return Ok(None);
                };
                query
                    .push(" AND label_scores IS NOT NULL ORDER BY seq DESC LIMIT ")
                    .push_bind(i64::from(page.limit));
                let rows: Vec<SeenRow> = query.build_query_as().fetch_all(&self.$pool).await?;
                let seen: Result<Vec<_>, _> = rows.into_iter().map(Seen::try_from).collect();
                seen.map(Some)
            }

            async fn failed_for(
                &self,
                reason: &str,
                limit: u32,
            ) -> Result<Vec<Uuid>, CatalogueError> {
                let ids: Vec<(Vec<u8>,)> = sqlx::query_as(
                    "SELECT frame_id FROM frames WHERE state = 'failed' AND failure = $1
                     ORDER BY seq LIMIT $2",
                )
                .bind(reason)
                .bind(i64::from(limit))
                .fetch_all(&self.$pool)
                .await?;
                ids.iter().map(|(id,)| frame_id(id)).collect()
            }

            async fn oldest(&self, limit: u32) -> Result<Vec<Frame>, CatalogueError> {
                let rows: Vec<FrameRow> = sqlx::query_as(
                    "SELECT * FROM frames WHERE state <> 'queued' ORDER BY seq LIMIT $1",
                )
                .bind(i64::from(limit))
                .fetch_all(&self.$pool)
                .await?;
                rows.into_iter().map(Frame::try_from).collect()
            }

            async fn kept(&self) -> Result<Kept, CatalogueError> {
                let (frames, bytes): (i64, i64) = sqlx::query_as(
                    "SELECT CAST(coalesce(sum(frames), 0) AS BIGINT),
                         CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM cameras",
                )
                .fetch_one(&self.$pool)
                .await?;
                Ok(Kept::new(frames, bytes))
            }

            async fn due(&self, before_ms: i64, bytes: u64) -> Result<Kept, CatalogueError> {
                let (frames, bytes): (i64, i64) = sqlx::query_as(
                    "SELECT count(*), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM (
                         SELECT bytes, received_ms, sum(bytes) OVER (ORDER BY seq) - bytes AS freed
                         FROM frames WHERE state <> 'queued') AS settled
                     WHERE received_ms < $1 OR freed < $2",
                )
                .bind(before_ms)
                .bind(saturate(bytes))
                .fetch_one(&self.$pool)
                .await?;
                Ok(Kept::new(frames, bytes))
            }

            async fn store(&self) -> Result<Option<StoreId>, CatalogueError> {
                let row: Option<(Vec<u8>, i64)> = sqlx::query_as("SELECT id, paired FROM store")
                    .fetch_optional(&self.$pool)
                    .await?;
                let Some((id, paired)) = row else {
                    return Ok(None);
                };
                Ok(Some(StoreId {
                    id: frame_id(&id)?,
                    paired: paired != 0,
                }))
            }

            async fn name_store(&self, id: Uuid) -> Result<(), CatalogueError> {
                sqlx::query("INSERT INTO store (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING")
                    .bind(id.as_bytes().as_slice())
                    .execute(&self.$writer)
                    .await?;
                Ok(())
            }

            async fn pair_store(&self) -> Result<(), CatalogueError> {
                sqlx::query("UPDATE store SET paired = 1")
                    .execute(&self.$writer)
                    .await?;
                Ok(())
            }

            async fn absent(&self, frames: &[Uuid]) -> Result<Vec<Uuid>, CatalogueError> {
                if frames.is_empty() {
                    return Ok(Vec::new());
                }
                let mut query = sqlx::QueryBuilder::<$database>::new(
                    "SELECT frame_id FROM frames WHERE frame_id IN (",
                );
                let mut list = query.separated(", ");
                for id in frames {
                    list.push_bind(id.as_bytes().as_slice());
                }
                query.push(")");
                let rows: Vec<(Vec<u8>,)> = query.build_query_as().fetch_all(&self.$pool).await?;
                let there: Result<std::collections::HashSet<_>, _> = rows.iter().map(|(id,)| frame_id(id)).collect();
                let there = there?;
                Ok(frames.iter().copied().filter(|id| !there.contains(id)).collect())
            }

            async fn untried(&self) -> Result<bool, CatalogueError> {
                let (untried,): (bool,) = sqlx::query_as(
                    "SELECT EXISTS (SELECT 1 FROM frames WHERE state = 'queued' AND begun = 0)",
                )
                .fetch_one(&self.$pool)
                .await?;
                Ok(untried)
            }

            async fn risk(&self, id: Uuid) -> Result<(), CatalogueError> {
                sqlx::query("UPDATE frames SET deaths = deaths + 1 WHERE frame_id = $1")
                    .bind(id.as_bytes().as_slice())
                    .execute(&self.$writer)
                    .await?;
                Ok(())
            }

            async fn queued(&self) -> Result<u64, CatalogueError> {
                let (count,): (i64,) =
                    sqlx::query_as("SELECT count(*) FROM frames WHERE state = 'queued'")
                        .fetch_one(&self.$pool)
                        .await?;
                Ok(count as u64)
            }

            async fn place(&self, id: Uuid) -> Result<Option<Place>, CatalogueError> {
                let row: Option<(i64, bool)> = sqlx::query_as(
                    "SELECT seq, received_ms - captured_ms <= 60000 FROM frames
                     WHERE frame_id = $1 AND state = 'queued'",
                )
                .bind(id.as_bytes().as_slice())
                .fetch_optional(&self.$pool)
                .await?;
                let Some((seq, live)) = row else {
                    return Ok(None);
                };
                let place = sqlx::query_as(concat!(
                    "SELECT count(*) AS waiting, CAST(coalesce(sum(CASE WHEN ",
                    $ahead,
                    " THEN 1 ELSE 0 END), 0) AS BIGINT) AS ahead, min(received_ms) AS oldest_received_ms
                     FROM frames WHERE state = 'queued'"
                ));
                let place = place.bind(seq).bind(live).fetch_one(&self.$pool);
                Ok(Some(place.await?))
            }

            async fn queued_since(&self) -> Result<Option<i64>, CatalogueError> {
                let row: Option<(i64,)> = sqlx::query_as(
                    "SELECT received_ms FROM frames WHERE state = 'queued' ORDER BY seq LIMIT 1",
                )
                .fetch_optional(&self.$pool)
                .await?;
                Ok(row.map(|(received_ms,)| received_ms))
            }

            async fn cameras(&self, limit: u32, offset: u32) -> Result<Vec<Camera>, CatalogueError> {
                let rows: Vec<CameraRow> = sqlx::query_as(
                    "SELECT c.*, f.frame_id AS last_frame,
                         (SELECT avg(psnr_db) FROM (SELECT psnr_db FROM frames
                              WHERE camera_id = c.camera_id ORDER BY seq DESC LIMIT $1) AS recent)
                             AS recent_psnr,
                         w.expected_ms, s.begin_ms AS silent_ms, d.begin_ms AS drifting_ms
                     FROM (SELECT c.camera_id FROM cameras c
                           LEFT JOIN alarms s ON s.camera_id = c.camera_id AND s.kind = 'silent'
                               AND s.end_ms IS NULL
                           LEFT JOIN alarms d ON d.camera_id = c.camera_id AND d.kind = 'drift'
                               AND d.end_ms IS NULL
                           ORDER BY CASE WHEN s.begin_ms IS NOT NULL THEN 0
                                    WHEN c.failed > 0 AND c.decoded = 0 AND c.labelled = 0 THEN 1
                                    WHEN d.begin_ms IS NOT NULL THEN 2 ELSE 3 END,
                               c.camera_id
                           LIMIT $2 OFFSET $3) AS page
                     JOIN cameras c ON c.camera_id = page.camera_id
                     JOIN frames f ON f.seq = c.last_seq
                     LEFT JOIN watches w ON w.camera_id = c.camera_id
                     LEFT JOIN alarms s ON s.camera_id = c.camera_id AND s.kind = 'silent'
                         AND s.end_ms IS NULL
                     LEFT JOIN alarms d ON d.camera_id = c.camera_id AND d.kind = 'drift'
                         AND d.end_ms IS NULL",
                )
                .bind(i64::from(RECENT_FRAMES))
                .bind(i64::from(limit))
                .bind(i64::from(offset))
                .fetch_all(&self.$pool)
                .await?;
                let cameras: Result<Vec<Camera>, _> = rows.into_iter().map(Camera::try_from).collect();
                let mut cameras = cameras?;
                // The page's own order, which a join need not keep.
                cameras.sort_by(|a, b| a.worst_first().cmp(&b.worst_first()));
                Ok(cameras)
            }

            async fn totals(&self, live_since_ms: i64) -> Result<Totals, CatalogueError> {
                let totals = sqlx::query_as(
                    "SELECT count(*) AS cameras,
                         CAST(coalesce(sum(CASE WHEN last_received_ms >= $1 THEN 1 ELSE 0 END), 0) AS BIGINT)
                             AS cameras_live,
                         (SELECT count(*) FROM cameras c WHERE latent_bits > 0 AND NOT EXISTS
                              (SELECT 1 FROM watches w WHERE w.camera_id = c.camera_id AND w.learned = 1))
                             AS cameras_learning,
                         CAST(coalesce(sum(frames), 0) AS BIGINT) AS frames,
                         CAST(coalesce(sum(decoded), 0) AS BIGINT) AS decoded,
                         CAST(coalesce(sum(labelled), 0) AS BIGINT) AS labelled,
                         CAST(coalesce(sum(failed), 0) AS BIGINT) AS failed,
                         CAST(coalesce(sum(pixels), 0) AS BIGINT) AS pixels,
                         CAST(coalesce(sum(latent_bits), 0) AS BIGINT) AS latent_bits,
                         CAST(coalesce(sum(measured), 0) AS BIGINT) AS measured,
                         CAST(coalesce(sum(psnr_sum), 0) AS DOUBLE PRECISION) AS psnr_sum
                     FROM cameras",
                );
                Ok(totals.bind(live_since_ms).fetch_one(&self.$pool).await?)
            }

            async fn series(
                &self,
                camera: &str,
                metric: Metric,
                limit: u32,
            ) -> Result<Series, CatalogueError> {
                let points = sqlx::query_as(series_query(metric))
                    .bind(camera)
                    .bind(i64::from(limit))
                    .fetch_all(&self.$pool);
                Ok(Series::new(camera, points.await?))
            }

            async fn history(&self, span: &Span) -> Result<History, CatalogueError> {
                history::read!($database, &self.$pool, span, $program, $index)
            }

            async fn latents(
                &self,
                camera: &str,
                limit: u32,
            ) -> Result<Vec<LatentSample>, CatalogueError> {
                let rows = sqlx::query_as(history::LATENTS)
                    .bind(camera)
                    .bind(i64::from(limit))
                    .fetch_all(&self.$pool);
                Ok(rows.await?)
            }
        }

        impl $catalogue {
            /// What a page selects, but for its order; `None` when the frame that it begins after is not kept.
            async fn page(
                &self,
                columns: &str,
                page: &Page,
            ) -> Result<Option<sqlx::QueryBuilder<$database>>, CatalogueError> {
                let mut before = i64::MAX;
                if let Some(id) = page.before {
                    let row: Option<(i64,)> =
                        sqlx::query_as("SELECT seq FROM frames WHERE frame_id = $1")
                            .bind(id.as_bytes().as_slice())
                            .fetch_optional(&self.$pool)
                            .await?;
                    let Some((seq,)) = row else { return Ok(None) };
                    before = seq;
                }
                let mut query = sqlx::QueryBuilder::<$database>::new("SELECT ");
                query.push(columns).push(" FROM frames WHERE seq < ");
                query.push_bind(before);
                if let Some(camera) = page.camera.clone() {
                    query.push(" AND camera_id = ").push_bind(camera);
                }
                if let Some(state) = page.state {
                    // Spelled out: SQLite uses no partial index for a value that is bound.
                    query.push(match state {
                        FrameState::Queued => " AND state = 'queued'",
                        FrameState::Decoded => " AND state = 'decoded'",
                        FrameState::Labelled => " AND state = 'labelled'",
                        FrameState::Failed => " AND state = 'failed'",
                    });
                }
                Ok(Some(query))
            }
        }
    };
}

pub(super) use catalogue;
