"""The bridge to e2cnn, with which the tests let another library transform our features."""

from typing import Any

from tenfold.groups import Group


def to_e2cnn_type(fields: int, group: Group) -> Any:
    """The e2cnn `FieldType` of `fields` regular fields, whose channels are laid out as ours.

    Needs the package e2cnn, which is imported here and nowhere else.

    Args:
        fields: number of regular fields.
        group: the symmetry group.

    Returns:
        An `e2cnn.nn.FieldType`; `e2cnn.nn.GeometricTensor(features, type).transform(element)` acts as `Group.act_field`.
        Element t of ours is `type.fibergroup.elements[t]` there.
    """
    from e2cnn import gspaces, nn  # type: ignore[import-untyped]

    n = group.n_rotations
    if group.has_reflections:
        space = gspaces.FlipRot2dOnR2(n) if n > 1 else gspaces.Flip2dOnR2()
    else:
        space = gspaces.Rot2dOnR2(n) if n > 1 else gspaces.TrivialOnR2()
    return nn.FieldType(space, fields * [space.regular_repr])
