"""The parts that all networks share."""

from foal.train.model.architecture import Architecture, build_projections, build_skip

ARCHITECTURE = Architecture(
    frame_shapes={"audio": (5,), "face": (2, 7)},
    classes=3,
    width=16,
    heads=4,
    layers=1,
    dropout=0.1,
    projection_dropout=0.5,
    input_dropout=0.2,
    input_limit=3.0,
    skip=True,
    skip_hidden=8,
    ratings=2,
)


def test_every_input_has_a_projection_of_its_frames() -> None:
    projections = build_projections(ARCHITECTURE)
    assert {name: projection.adapter.in_features for name, projection in projections.items()} == {"audio": 5, "face": 7}
    assert projections["audio"].layer_weights is None
    assert projections["face"].layer_weights is not None
    assert {projection.input_limit for projection in projections.values()} == {3.0}
    assert {projection.input_dropout.p for projection in projections.values()} == {0.2}


def test_the_path_of_pooled_inputs_reads_all_parts_and_has_an_output_per_class_and_rating() -> None:
    skip = build_skip(ARCHITECTURE, ("mean", "std"))
    assert (skip.linear.in_features, skip.linear.out_features) == (2 * (5 + 7), 5)
    assert skip.perceptron is not None
    assert sum(parameter.numel() for parameter in skip.perceptron.parameters()) == 24 * 8 + 8 + 8 * 5 + 5
    assert skip.dropout.p == 0.2
