"""DOCX files whose text stands in wrappers that readers forget: controls around rows, directions, own XML, fields."""

# ruff: noqa: E501  the lines of the files that it writes

from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_office import NAMES, append, new, saved
from testing.true_texts import FOREIGN, Paragraphs


def wrapper_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """DOCX files."""
    run = '<w:r><w:t xml:space="preserve">{}</w:t></w:r>'
    a, b, c = paragraphs.take(3)
    hebrew = FOREIGN["hebrew"][0]
    document = new()
    for inner in (
        f'<w:customXml w:element="x">{run.format(a)}</w:customXml>',
        f'<w:dir w:val="rtl">{run.format(hebrew)}</w:dir>',
        f'<w:ins w:id="1" w:author="x"><w:hyperlink w:anchor="y">{run.format("an inserted link")}</w:hyperlink></w:ins>',
        run.format("struck ").replace("<w:t ", "<w:rPr><w:strike/><w:caps/></w:rPr><w:t ") + run.format("but seen"),
        "<w:r><w:ruby><w:rubyPr/><w:rt><w:r><w:t>すいしゃ</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>水車</w:t></w:r></w:rubyBase></w:ruby></w:r>",
        "<m:oMathPara><m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath></m:oMathPara>",
        run.format("on") + '<w:r><w:br w:type="page"/></w:r>' + run.format("the next page"),
        f"{run.format('web only').replace('<w:t ', '<w:rPr><w:webHidden/></w:rPr><w:t ')}",
    ):
        append(document, f"<w:p {NAMES}>{inner}</w:p>")
    append(document, f"<w:customXml {NAMES} w:element='x'><w:p>{run.format(b)}</w:p></w:customXml>")
    document.add_paragraph(c)
    yield TrueFile(
        "wrappers.docx",
        saved(document),
        (a, hebrew, "an inserted link", "struck but seen", "水車", "a", "b", "on", "the next page", "web only", b, c),
        ("すいしゃ", "(", ")", "/", "$", "{", "}", "\\frac"),
        "text in wrappers",
    )
    a, b = paragraphs.take(2)
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    row = "<w:tr>{}</w:tr>"
    kept = row.format(cell.format("Berth") + cell.format("Price"))
    inside = f"<w:sdt><w:sdtContent>{row.format(cell.format('A1') + cell.format('310'))}</w:sdtContent></w:sdt>"
    of_cell = row.format(cell.format("B7") + f"<w:sdt><w:sdtContent>{cell.format('495')}</w:sdtContent></w:sdt>")
    gone = f'<w:tr><w:trPr><w:del w:id="9" w:author="x"/></w:trPr>{cell.format("C3")}<w:tc><w:p><w:del w:id="8" w:author="x"><w:r>'
    gone += "<w:delText>code 7741</w:delText></w:r></w:del></w:p></w:tc></w:tr>"
    gone = gone.replace(
        "<w:r><w:t>C3</w:t></w:r>", '<w:del w:id="7" w:author="x"><w:r><w:delText>C3</w:delText></w:r></w:del>'
    )
    down = '<w:tr><w:tc><w:tcPr><w:vMerge w:val="restart"/></w:tcPr><w:p><w:r><w:t>South quay</w:t></w:r></w:p></w:tc>{}</w:tr>'
    more = "<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc>{}</w:tr>"
    table = f"{kept}{inside}{of_cell}{gone}{down.format(cell.format('calm'))}{more.format(cell.format('deep'))}"
    document = new()
    document.add_paragraph(a)
    append(
        document,
        f'<w:tbl {NAMES}><w:tblPr/><w:tblGrid><w:gridCol w:w="9"/><w:gridCol w:w="9"/></w:tblGrid>{table}</w:tbl>',
    )
    field = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
    contents = (
        field.format("begin") + '<w:r><w:instrText> TOC \\o "1-3" </w:instrText></w:r>' + field.format("separate")
    )
    contents += f'<w:hyperlink w:anchor="t">{run.format("Of the quay")}<w:r><w:tab/></w:r>{field.format("begin")}'
    contents += f"<w:r><w:instrText> PAGEREF t </w:instrText></w:r>{field.format('separate')}{run.format('4')}{field.format('end')}</w:hyperlink>"
    append(document, f"<w:p {NAMES}>{contents}{field.format('end')}</w:p>")
    document.add_heading("Of the quay", 1)
    document.add_paragraph(b)
    yield TrueFile(
        "controls.docx",
        saved(document),
        (a, "Berth Price", "A1 310", "B7 495", "South quay", "calm", "deep", "Of the quay", b),
        ("Of the quay", "4", "South quay"),
        "controls around rows and cells, a deleted row, nested fields",
    )
