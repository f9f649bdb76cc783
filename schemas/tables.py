"""The tables of the store. A row never changes; each table's first comment says its grain.

Rows are not changed, and removed only where a batch is opened again or pruned, which leaves the others in their order.
So their ``rowid`` is the sequence of the store, in each of its places: of two rows the later one was inserted later.
All that is called first, last, latest or newest goes by it. Columns that hold a time are for people: clocks are set
back, stand still and differ between machines.
"""

VERSION = 6
"""Raised when a table changes. A store carries the version that wrote it, and is brought up to this one when opened."""

MIGRATIONS: dict[int, str] = {
    1: """
alter table completions add column key varchar;
update completions set key = split_part(stage, ' ', 2), stage = split_part(stage, ' ', 1);
""",
    # Anchors were drawn one by one: what a snapshot of before held out stays so, batches were made without it.
    2: """
insert into snapshot_heldout select distinct snapshot_id, anchor_id, 'held_out' from snapshots
    join snapshot_parts using (snapshot_id) join part_anchors using (part, fingerprint)
    join anchors using (anchor_id)
    where part_anchors.source_id = snapshot_parts.source_id and heldout_draw < heldout_fraction;
alter table anchors drop column heldout_draw;
alter table part_anchors add column uri varchar;
update part_anchors set uri = anchors.uri from anchors where part_anchors.anchor_id = anchors.anchor_id;
""",
    3: "",
    4: "alter table records add column if not exists turns varchar default '';",
    # A figure is an object with these names, wherever in a report it stands; those of a list's rows are left out.
    5: """
insert into digests select batch_id, measurement_id, coalesce((report ->> '$.format')::integer, 0),
    coalesce(report ->> '$.training', ''),
    if(examined, coalesce(report ->> '$.knowledge.exam', ''), ''),
    if(examined, coalesce(report ->> '$.knowledge.graded', ''), ''),
    coalesce(report ->> '$.gain.verdict', ''), (report ->> '$.cost.accepted_tokens')::bigint,
    coalesce((report ->> '$.cost.prompt_tokens')::bigint, 0)
        + coalesce((report ->> '$.cost.completion_tokens')::bigint, 0)
        + coalesce((report ->> '$.cost.scoring_tokens')::bigint, 0)
        + coalesce((report ->> '$.cost.judging_tokens')::bigint, 0)
    from (select *, (report ->> '$.knowledge.gained.value') is not null as examined, rowid as place from measurements)
    order by place;
insert into figures select batch_id, measurement_id, fullkey[3:], (one ->> '$.value')::double,
    (one ->> '$.low')::double, (one ->> '$.high')::double, (one ->> '$.n')::bigint, (one ->> '$.clusters')::bigint,
    (one ->> '$.dropped')::bigint, one ->> '$.unit', one ->> '$.status', one ->> '$.definition',
    coalesce((one ->> '$.seeds')::bigint, 0)
    from (select batch_id, measurement_id, fullkey, found.value as one from measurements, json_tree(report) as found
        where found.type = 'OBJECT' and not contains(fullkey, '['))
    where json_exists(one, '$.clusters') and json_exists(one, '$.definition') and json_exists(one, '$.value');
""",
}
"""By version: the SQL that brings a store to the next one; tables that it lacks are made in any case."""

KEYS: dict[str, tuple[str, ...]] = {
    "parts": ("source_id", "part", "fingerprint"),
    "anchors": ("anchor_id",),
    "part_anchors": ("source_id", "part", "fingerprint", "anchor_id", "uri"),
    "snapshots": ("snapshot_id",),
    "snapshot_parts": ("snapshot_id", "part"),
    "refreshes": (),
    "documents": ("document_id", "version"),
    "snapshot_heldout": ("snapshot_id", "anchor_id"),
    "batches": ("batch_id",),
    "records": ("batch_id", "record_id"),
    "drops": ("batch_id", "anchor_id", "facet", "reason", "request_id"),
    "completions": ("batch_id", "stage", "key"),
    "quarantine": ("batch_id", "record_id", "reason"),
    "checkpoints": ("checkpoint_id",),
    "measurements": ("batch_id", "measurement_id"),
    "digests": ("batch_id", "measurement_id"),
    "figures": ("batch_id", "measurement_id", "path"),
    "batch_anchors": ("batch_id", "anchor_id"),
    "decisions": ("batch_id", "decision_id"),
    "exams": ("exam_id", "snapshot_id"),
    "questions": ("exam_id", "question_id"),
    "pruned": ("prune_id",),
    "schema_version": ("version",),
}
"""By table: the columns that make two rows the same one. Of a table without any, every row is another: a log."""

DDL = """
-- one version of one file, module or dataset split that was read whole; num_anchors counts exact duplicates
create table if not exists parts (
    source_id varchar not null, part varchar not null, fingerprint varchar not null,
    num_documents bigint not null, num_anchors bigint not null, drops varchar not null, read_at timestamptz not null);
-- one distinct text
create table if not exists anchors (
    anchor_id varchar not null, text varchar not null, title varchar not null, uri varchar not null,
    licence varchar not null, revision varchar not null, num_bytes bigint not null);
-- one text found in one version of one part, as the piece or the document that the uri names
create table if not exists part_anchors (
    source_id varchar not null, part varchar not null, fingerprint varchar not null, anchor_id varchar not null,
    uri varchar not null);
-- the corpus after one refresh that changed something
create table if not exists snapshots (
    snapshot_id varchar not null, source_id varchar not null, source varchar not null,
    heldout_fraction double not null, num_anchors bigint not null, num_heldout bigint not null,
    num_bytes bigint not null, created_at timestamptz not null);
-- one part's version in one snapshot
create table if not exists snapshot_parts (
    snapshot_id varchar not null, source_id varchar not null, part varchar not null, fingerprint varchar not null);
-- one refresh after which another snapshot is the latest
create table if not exists refreshes (
    snapshot_id varchar not null, source_id varchar not null, refreshed_at timestamptz not null);
-- one version of one document, named by its anchors: at a held-out fraction above high it is held out, at one of at
-- most low trained on, between them (it nearly repeats documents of both kinds) neither. Without words it has no sketch
create table if not exists documents (
    document_id varchar not null, version varchar not null, low double not null, high double not null, sketch blob);
-- one anchor of one snapshot that is not trained on: held_out to be measured on, or kept_out, as its document nearly
-- repeats some that are held out and some that are trained on
create table if not exists snapshot_heldout (
    snapshot_id varchar not null, anchor_id varchar not null, place varchar not null);
-- one recipe that was begun
create table if not exists batches (
    batch_id varchar not null, snapshot_id varchar not null, recipe varchar not null,
    logprob_semantics varchar not null, created_at timestamptz not null);
-- one synthetic document, or one conversation: turns are its messages as JSON, empty for a document, and its text is
-- their transcript
create table if not exists records (
    batch_id varchar not null, record_id varchar not null, anchor_id varchar not null, method varchar not null,
    facet varchar not null, text varchar not null, request_ids varchar[] not null, num_bytes bigint not null,
    turns varchar default '');
-- one reply or anchor that gave no record
create table if not exists drops (
    batch_id varchar not null, anchor_id varchar not null, facet varchar not null, reason varchar not null,
    request_id varchar not null);
-- one stage of one batch that is complete; written after everything else of the stage. Of a stage that can be done in
-- several ways the key says which: the id of a plan of scores, a judging, a start or a training
create table if not exists completions (
    batch_id varchar not null, stage varchar not null, key varchar not null, summary varchar not null,
    completed_at timestamptz not null);
-- one reason why one record is not trained on
create table if not exists quarantine (
    batch_id varchar not null, record_id varchar not null, reason varchar not null);
-- one trained model
create table if not exists checkpoints (
    checkpoint_id varchar not null, parent varchar not null, role varchar not null, batch_ids varchar[] not null,
    url varchar not null, plan varchar not null, metrics varchar not null, created_at timestamptz not null);
-- one report of one batch: the parameters that shaped it have the id, the whole report is the value
create table if not exists measurements (
    batch_id varchar not null, measurement_id varchar not null, report varchar not null,
    measured_at timestamptz not null);
-- what lists and the overview show of one report beside its figures; inserted with it
create table if not exists digests (
    batch_id varchar not null, measurement_id varchar not null, format integer not null, training_id varchar not null,
    exam varchar not null, graded varchar not null, verdict varchar not null, accepted_tokens bigint,
    cost_tokens bigint not null);
-- one figure of one report, by its path there; inserted with it
create table if not exists figures (
    batch_id varchar not null, measurement_id varchar not null, path varchar not null, value double, low double,
    high double, n bigint not null, clusters bigint not null, dropped bigint not null, unit varchar not null,
    status varchar not null, definition varchar not null, seeds bigint not null);
-- one anchor that a batch is made from, and its place in the batch's order
create table if not exists batch_anchors (
    batch_id varchar not null, position bigint not null, anchor_id varchar not null);
-- one decision of the gate on one measurement of one batch by one set of thresholds; a release is another
create table if not exists decisions (
    batch_id varchar not null, decision_id varchar not null, measurement_id varchar not null,
    training_id varchar not null, state varchar not null, decision varchar not null, decided_at timestamptz not null);
-- one exam about the documents of one snapshot: how it was made, and the rows that gave no question, by reason
create table if not exists exams (
    exam_id varchar not null, snapshot_id varchar not null, kind varchar not null, num_questions bigint not null,
    about varchar not null, drops varchar not null, created_at timestamptz not null);
-- one question of one exam
create table if not exists questions (
    exam_id varchar not null, question_id varchar not null, document_id varchar not null, part varchar not null,
    question varchar not null, answer varchar not null, accepted varchar[] not null, options varchar[] not null,
    title varchar not null, evidence varchar not null);
-- one folder that was removed to make room: the replies of a batch or all of it, by its id, or a checkpoint's weights
create table if not exists pruned (
    prune_id varchar not null, kind varchar not null, name varchar not null, num_bytes bigint not null,
    why varchar not null, pruned_at timestamptz not null);
-- one version of these tables that the store was brought up to
create table if not exists schema_version (version integer not null);
"""
