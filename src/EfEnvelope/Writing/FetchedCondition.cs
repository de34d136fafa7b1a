using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>A condition of a row's update whose value the row's entity does not know.</summary>
internal sealed class FetchedCondition(IColumnModification inner, object value) : ColumnModificationDecorator(inner)
{
    public override object? OriginalValue => value;
}
