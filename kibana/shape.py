"""The shape of saved objects as Kibana 8.19 exports them: the attributes there are, and the values they may have.

Only what our objects use is known here: whatever else an edited file brings is refused with its place, and has to be
looked up first. Unknown attributes are refused by Kibana, too, for lens, map and tag.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from maredata.data_views import DATA_VIEW_VERSION

VERSIONS = {
    "index-pattern": DATA_VIEW_VERSION,
    "lens": "8.9.0",
    "map": "8.4.0",
    "dashboard": "10.2.0",
    "tag": "8.0.0",
}
GRID_WIDTH = 48
MOST_HITS = 100  # of one buoy: index.max_inner_result_window

Text = Annotated[str, Field(min_length=1)]
Nothing = Annotated[dict[str, Any], Field(max_length=0)]
NoItems = Annotated[list[Any], Field(max_length=0)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Reference(Part):
    type: Literal["index-pattern", "lens", "map", "dashboard", "tag"]
    id: Text
    name: Text


class Query(Part):
    language: Literal["kuery"]
    query: str


# --- data views and tags ---------------------------------------------------------------------------------------------


class Format(Part):
    id: Literal["number", "date", "date_nanos", "string"]
    params: dict[str, Any] = {}


class DataView(Part):
    title: Text
    name: Text
    timeFieldName: Text | None = None
    fieldFormatMap: dict[str, Format] = {}
    allowNoIndex: bool = False


class Tag(Part):
    name: Text
    description: str
    color: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]


# --- lens ------------------------------------------------------------------------------------------------------------


class _Column(Part):
    label: str
    customLabel: bool = False
    dataType: Literal["number", "string", "date"]
    scale: Literal["ordinal", "interval", "ratio"]
    sourceField: Text
    filter: Query | None = None
    timeScale: Literal["s", "m", "h", "d"] | None = None


class _OrderBy(Part):
    type: Literal["column", "alphabetical"]
    columnId: Text | None = None
    fallback: bool = False


class _ParentFormat(Part):
    id: Literal["terms"]


class _TermsParams(Part):
    size: int = Field(ge=1, le=1000)
    orderBy: _OrderBy
    orderDirection: Literal["asc", "desc"]
    otherBucket: bool
    missingBucket: bool
    parentFormat: _ParentFormat
    include: NoItems
    exclude: NoItems
    includeIsRegex: bool
    excludeIsRegex: bool


class Terms(_Column):
    operationType: Literal["terms"]
    isBucketed: Literal[True]
    params: _TermsParams


class _HistogramParams(Part):
    interval: Literal["auto", "1m", "1h", "1d"]
    includeEmptyRows: bool
    dropPartials: bool


class DateHistogram(_Column):
    operationType: Literal["date_histogram"]
    isBucketed: Literal[True]
    dataType: Literal["date"]
    params: _HistogramParams


class _MetricParams(Part):
    emptyAsNull: bool = False
    format: Format | None = None


class Metric(_Column):
    operationType: Literal["average", "sum", "min", "max", "unique_count", "count"]
    isBucketed: Literal[False]
    params: _MetricParams


class _LastValueParams(Part):
    sortField: Text
    showArrayValues: Literal[False]
    format: Format | None = None


class LastValue(_Column):
    operationType: Literal["last_value"]
    isBucketed: Literal[False]
    filter: Query
    params: _LastValueParams


Column = Annotated[Terms | DateHistogram | Metric | LastValue, Field(discriminator="operationType")]


class Layer(Part):
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    columnOrder: list[str]
    incompleteColumns: Nothing
    sampling: Literal[1]
    ignoreGlobalFilters: bool

    @model_validator(mode="after")
    def _columns_are_in_order(self) -> Layer:
        if sorted(self.columnOrder) != sorted(self.columns):
            raise ValueError("columnOrder and columns don't name the same columns")
        buckets = [self.columns[name].isBucketed for name in self.columnOrder]
        if buckets != sorted(buckets, reverse=True):
            raise ValueError("in columnOrder buckets must come before metrics")
        for name, column in self.columns.items():
            if isinstance(column, Terms) and column.params.orderBy.type == "column":
                by = column.params.orderBy.columnId or ""
                if by not in self.columns or self.columns[by].isBucketed:
                    raise ValueError(f"column {name} is ordered by {by!r}, which is no metric of this layer")
            if column.operationType == "count" and column.sourceField != "___records___":
                raise ValueError(f"column {name} counts {column.sourceField}: a count is of ___records___")
        return self


class _Layers(Part):
    layers: Annotated[dict[str, Layer], Field(min_length=1)]


class _NoLayers(Part):
    layers: Nothing


class _Datasources(Part):
    formBased: _Layers
    indexpattern: _NoLayers
    textBased: _NoLayers


class _XYLayer(Part):
    layerId: Text
    layerType: Literal["data"]
    seriesType: Literal["line", "area", "area_stacked", "bar", "bar_stacked"]
    position: Literal["top"]
    showGridlines: bool
    xAccessor: Text
    accessors: Annotated[list[str], Field(min_length=1)]
    splitAccessor: Text | None = None


class _XY(Part):
    legend: dict[str, Any]
    valueLabels: Literal["hide", "show"]
    fittingFunction: Literal["None", "Zero", "Linear", "Carry"]
    axisTitlesVisibilitySettings: dict[str, bool]
    tickLabelsVisibilitySettings: dict[str, bool]
    labelsOrientation: dict[str, int]
    gridlinesVisibilitySettings: dict[str, bool]
    preferredSeriesType: str
    layers: Annotated[list[_XYLayer], Field(min_length=1)]

    def accessors(self) -> list[tuple[str, str]]:
        """(layer, column) of everything that is drawn."""
        return [
            (layer.layerId, column)
            for layer in self.layers
            for column in (layer.xAccessor, *layer.accessors, layer.splitAccessor)
            if column is not None
        ]


class _ColorStop(Part):
    color: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]
    stop: int | float


class _PaletteParams(Part):
    name: Literal["custom"]
    steps: int
    reverse: bool
    rangeType: Literal["number"]
    rangeMin: int | float | None
    rangeMax: int | float | None
    progression: Literal["fixed"]
    continuity: Literal["above", "below", "all", "none"]
    stops: Annotated[list[_ColorStop], Field(min_length=1)]
    colorStops: Annotated[list[_ColorStop], Field(min_length=1)]
    maxSteps: int


class _Palette(Part):
    name: Literal["custom"]
    type: Literal["palette"]
    params: _PaletteParams


class _TableColumn(Part):
    columnId: Text
    colorMode: Literal["none", "cell", "text"] = "none"
    palette: _Palette | None = None
    alignment: Literal["left", "right", "center"] | None = None


class _Sorting(Part):
    columnId: Text
    direction: Literal["asc", "desc"]


class _Table(Part):
    layerId: Text
    layerType: Literal["data"]
    columns: Annotated[list[_TableColumn], Field(min_length=1)]
    sorting: _Sorting | None = None

    def accessors(self) -> list[tuple[str, str]]:
        """(layer, column) of everything that is shown."""
        names = [column.columnId for column in self.columns]
        return [(self.layerId, name) for name in [*names, *([self.sorting.columnId] if self.sorting else [])]]


class _State(Part):
    visualization: dict[str, Any]
    query: Query
    filters: NoItems
    datasourceStates: _Datasources
    internalReferences: NoItems
    adHocDataViews: Nothing


_VISUALIZATIONS: dict[str, TypeAdapter[_XY] | TypeAdapter[_Table]] = {
    "lnsXY": TypeAdapter(_XY),
    "lnsDatatable": TypeAdapter(_Table),
}


class Lens(Part):
    title: Text
    description: str
    visualizationType: Literal["lnsXY", "lnsDatatable"]
    state: _State

    @model_validator(mode="after")
    def _what_is_drawn_is_there(self) -> Lens:
        layers = self.state.datasourceStates.formBased.layers
        for layer, column in (
            _VISUALIZATIONS[self.visualizationType].validate_python(self.state.visualization).accessors()
        ):
            if layer not in layers or column not in layers[layer].columns:
                raise ValueError(f"column {column!r} of layer {layer!r} is drawn, but there is none")
        return self
